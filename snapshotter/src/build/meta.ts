import { join } from 'node:path';
import type { VolumeFile } from '@drakkar/protocol';
import { type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from '../blob/index.ts';
import { DEFAULT_IMAGE_LIMITS, planErofs } from '../erofs/index.ts';
import type { Directory } from '../layers/index.ts';

export interface MetaOptions extends Omit<VolumeFileWriterOptions, 'basePath'> {
  readonly outputDir: string;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly epochSeconds: number;
  readonly maxChunks: number;
}

/** Writes the EROFS image of a tree whose files lie on these devices. */
export async function writeMeta(
  root: Directory,
  devices: readonly VolumeFile[],
  { outputDir, uuid, epochSeconds, maxChunks, ...options }: MetaOptions,
): Promise<{ readonly staged: StagedFile; readonly inodes: number }> {
  const image = planErofs({
    root,
    deviceSizes: devices.map(({ rawSizeBytes }) => rawSizeBytes),
    uuid,
    epochSeconds,
    addressing: 'devices',
    limits: { ...DEFAULT_IMAGE_LIMITS, chunks: maxChunks },
  });
  const writer = await VolumeFileWriter.create({ ...options, basePath: join(outputDir, 'meta') });
  for (const part of image.parts()) {
    writer.append(part);
    await writer.ready();
  }
  return { staged: await writer.finish(), inodes: image.layout.inodes.length };
}
