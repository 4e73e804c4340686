/**
 * Builds snapshots: the layers of an image stream through a process of its own and end as files.
 *
 * ```
 * parent ── stdin: blobs in chain order ──▶ decompress (thread pool) ─▶ diff id ─▶ layers: merged tree
 *        ◀─ progress, reservations, result ─┐                            └▶ chunks ─▶ dedup ─▶ device + zstd (pool)
 *                                           └── EROFS meta ◀─ merged tree
 * ```
 */
export { buildSnapshot, rearrangeSnapshot } from './builder.ts';
export { type ChunkIndex, type ChunkPlace, MemoryChunkIndex } from './chunk-index.ts';
export { type LayerGroup, planDevices } from './devices.ts';
export type { DictionarySource } from './dictionary.ts';
export {
  type BuildLayer,
  type BuildLimits,
  type BuildModules,
  type BuildProgress,
  type BuildRequest,
  type BuildResult,
  type BuildStats,
  DEFAULT_BUILD_LIMITS,
  DEFAULT_COMPRESSION_LEVEL,
  DEFAULT_HEAP_MEBIBYTES,
  DEFAULT_STALL_TIMEOUT_MS,
  type OutputFile,
  type RearrangeRequest,
  type RearrangeResult,
} from './request.ts';
