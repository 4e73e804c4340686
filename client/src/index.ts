/**
 * What talks to a daemon: the documents of the admin API and its client. It imports as little as it can, because every
 * `drakkar` command waits for it.
 *
 * @example
 * ```ts
 * import { AdminClient } from '@drakkar/client';
 *
 * const admin = new AdminClient('/var/lib/drakkar/daemon/admin.sock');
 * const { rootfs, id } = await admin.start({ image: 'debian:12' });
 * await admin.endStart(id);
 * ```
 *
 * @packageDocumentation
 */
export type * from './api.ts';
export { type AdminCall, AdminClient } from './client.ts';
export * from './paths.ts';
export type * from './probe.ts';
export type {
  ClusterSnapshotSummary,
  HostWorkDocument,
  JobDocument,
  JobSpecInput,
  OverviewDocument,
  PolicyDocument,
  SupernodePlace,
  SupernodeStatus,
  SwarmBlob,
  SwarmHost,
  TokenDocument,
} from './supernode-api.ts';
export { SupernodeClient } from './supernode-client.ts';
