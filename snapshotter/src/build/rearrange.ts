import { readFile } from 'node:fs/promises';
import { MAX_PREFETCH_RANGES } from '@drakkar/protocol';
import { DEFAULT_IMAGE_LIMITS, readErofs } from '../erofs/index.ts';
import { writeMeta } from './meta.ts';
import { DEFAULT_COMPRESSION_LEVEL, type Rearranged, type RearrangeRequest } from './request.ts';
import { SpaceLedger } from './space.ts';
import { arrangeStart } from './start-device.ts';

/**
 * Lays a snapshot out anew, in this process: what starts read lies together on one device more, and everything stays where it was as well. The
 * same request gives the same bytes.
 *
 * @throws `invalid_content` for what is no meta
 */
export async function rearrange(
  { config, metaPath, rawPaths, reads, outputDir, compressionLevel }: RearrangeRequest,
  modules: { reserve(bytes: number): Promise<void> },
): Promise<Rearranged> {
  const space = new SpaceLedger(modules.reserve);
  const files = {
    outputDir,
    blockBytes: config.blockBytes,
    compressionLevel: compressionLevel ?? DEFAULT_COMPRESSION_LEVEL,
    reserve: (bytes: number) => space.take(bytes),
  };
  const { root, uuid, epochSeconds } = readErofs(await readFile(metaPath));
  const start = await arrangeStart(root, reads, {
    ...files,
    devices: config.devices.length,
    rawPaths: new Map(rawPaths.flatMap((path, slot) => (path === null ? [] : [[slot, path]]))),
  });
  const made = start.staged === undefined ? [] : [start.staged];
  const devices = [...config.devices, ...made.map(({ file }) => file)];
  const maxChunks = DEFAULT_IMAGE_LIMITS.chunks;
  const meta = await writeMeta(root, devices, { ...files, uuid, epochSeconds, maxChunks });
  const prefetch = start.prefetch.slice(0, MAX_PREFETCH_RANGES);
  return {
    config: { ...config, meta: meta.staged.file, devices, prefetch },
    meta: meta.staged,
    devices: made,
  };
}
