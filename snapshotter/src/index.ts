/**
 * From an image to a block snapshot, and back out of it.
 *
 * - `layers/`   tar streams → merged tree, as containerd's overlayfs shows it
 * - `erofs/`    merged tree ↔ metadata image
 * - `blob/`     raw files ↔ zstd seekable blobs with piece tables
 * - `build/`    layers → snapshot, in a process of its own
 * - `artifact/` snapshot ↔ signed OCI artifact
 * - `export/`   snapshot → one flat block image
 * - `service/`  images and layers as a snapshotter of containerd
 * - `trace/`    parts of devices that were read → files
 *
 * @example
 * ```ts
 * import { createReadStream } from 'node:fs';
 * import { buildSnapshot, composeArtifact } from '@drakkar/snapshotter';
 *
 * const { config, files } = await buildSnapshot(
 *   { image: 'debian:12', manifestDigest, layers: [{ digest, sizeBytes }], diffIds: [diffId], createdSeconds: 0, outputDir },
 *   { openLayer: () => createReadStream('layer.tar.gz'), reserve: async () => {}, onProgress: () => {} },
 *   { signal: AbortSignal.timeout(600_000) },
 * );
 * const { artifact, envelope } = composeArtifact({ config, subject, key });
 * // files are mounted with: mount -t erofs -o ro,device=device-0.raw meta.raw DIR
 * ```
 *
 * @packageDocumentation
 */
export * from './artifact/index.ts';
export { type ExpandRequest, expandBlob, type StagedFile } from './blob/index.ts';
export * from './build/index.ts';
export { DEFAULT_READ_LIMITS, type ReadImage, type ReadLimits, readErofs } from './erofs/index.ts';
export * from './export/index.ts';
export type { ChunkRun, Directory, FileContent, Inode } from './layers/index.ts';
export * from './service/index.ts';
export * from './trace/index.ts';
