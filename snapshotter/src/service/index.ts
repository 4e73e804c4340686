/**
 * Drakkar as a snapshotter of containerd.
 *
 * - `server`    the ten calls, on a unix socket
 * - `snapshots` what they do
 * - `metadata`  which snapshots there are
 * - `filter`    containerd's language of filters
 * - `mounts`    how a snapshot is seen
 * - `id-maps`   by whom its files are owned within a user namespace
 *
 * @example
 * ```ts
 * using metadata = new Metadata('/var/lib/drakkar/containerd.sqlite');
 * const snapshots = new Snapshots({ metadata, layers, images });
 * await using server = await serveSnapshots('/run/drakkar/snapshotter.sock', snapshots, events);
 * ```
 *
 * @packageDocumentation
 */
export type { Directories, Images, Layers, Owner } from './contract.ts';
export { parseFilters } from './filter.ts';
export { type Labels, Metadata, type RemoteLayer, type SnapshotRow, type Usage } from './metadata.ts';
export { type Mount, mountsOf } from './mounts.ts';
export { type CallEvents, serveSnapshots } from './server.ts';
export { Snapshots } from './snapshots.ts';
