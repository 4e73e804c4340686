/**
 * The files of a snapshot as they travel and as they are mounted: zstd seekable blobs with piece tables, and raw sparse
 * files.
 *
 * @example
 * ```ts
 * const writer = await VolumeFileWriter.create({ basePath, blockBytes, compressionLevel: 3, reserve });
 * writer.append(bytes);
 * await writer.ready();
 * const { file, blobPath } = await writer.finish();
 * await expandBlob({ blobPath, table, file, outputPath }, { signal });
 * ```
 */
export { type ExpandRequest, expandBlob } from './expand.ts';
export { readFully, writeFully } from './file.ts';
export { type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from './write.ts';
export { dataSpans, isZero } from './zeros.ts';
export { compressFrame, decompressFrame } from './zstd.ts';
