/**
 * The registry mirror for containerd: read-only OCI distribution, on loopback.
 *
 * A blob is sent while it arrives from upstream; what the store has is sent only to callers whom the registry behind lets have
 * it. When something fails in the middle of a body the connection is cut, so that containerd goes on elsewhere.
 *
 * @example
 * ```ts
 * await using mirror = await serveMirror({ port: 4001 }, { client, store, content, log, tracing });
 * // hosts.toml: [host."http://127.0.0.1:4001"]
 * ```
 */
export { type Mirror, type MirrorLog, type MirrorModules, serveMirror } from './mirror.ts';
export { MIRROR_DEFAULTS, type MirrorOptions } from './options.ts';
