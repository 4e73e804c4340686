import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChunkListFile, digestOf, encodeChunkList, MAX_LISTED_CHUNKS } from '@drakkar/protocol';
import { compressFrame } from '../blob/index.ts';
import type { MemoryChunkIndex } from './chunk-index.ts';

/** Most of a list are hashes, which nothing shortens. */
const COMPRESSION_LEVEL = 1;

/** A chunk list on disk. */
export interface StagedChunkList {
  readonly file: ChunkListFile;
  readonly path: string;
}

/**
 * Writes down all chunks that a build has seen, those that a later layer hides too: the next version has most of its layers
 * unchanged, and must find all that is in them. `undefined` for an image of too many.
 *
 * @param reserve awaited before bytes are written to disk
 */
export async function writeChunkList(
  index: MemoryChunkIndex,
  deviceCount: number,
  directory: string,
  reserve: (bytes: number) => Promise<void>,
): Promise<StagedChunkList | undefined> {
  if (index.size > MAX_LISTED_CHUNKS) return undefined;
  const list = encodeChunkList(deviceCount, index.size, index.inOrder());
  const blob = await compressFrame(list, COMPRESSION_LEVEL);
  const path = join(directory, 'chunks.blob');
  await reserve(blob.length);
  await writeFile(path, blob, { flag: 'wx', flush: true });
  const file = { blobDigest: digestOf(blob), blobSizeBytes: blob.length, rawSizeBytes: list.length };
  return { file, path };
}
