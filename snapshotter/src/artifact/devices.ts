import { open } from 'node:fs/promises';
import { DrakkarError, EROFS_BLOCK_BYTES, MAX_DEVICES, type SnapshotConfig } from '@drakkar/protocol';
import { readFully } from '../blob/index.ts';
import { decodeHeader, headerBytes, type Superblock } from '../erofs/index.ts';

/**
 * Before a snapshot is mounted: the devices of its meta are those of its signed config, in number, order and size, none is listed twice, and none lies over
 * another where they are one flat device. Reads the header alone.
 *
 * @throws `invalid_content`
 */
export async function requireDevices(metaPath: string, config: SnapshotConfig): Promise<void> {
  await using file = await open(metaPath, 'r');
  const { size } = await file.stat();
  const header = Buffer.alloc(Math.min(size, headerBytes(MAX_DEVICES)));
  await readFully(file, header, 0);
  checkDevices(decodeHeader(header, size), config);
}

const NOTHING = { blocks: 0, unifiedBlock: 0 };

/** The same for a header that has been read. Pure. */
export function checkDevices(
  { blocks, devices }: Pick<Superblock, 'blocks' | 'devices'>,
  config: Pick<SnapshotConfig, 'devices'>,
): void {
  if (devices.length !== config.devices.length) {
    refuse(`its meta has ${devices.length} devices, its config ${config.devices.length}`);
  }
  const seen = new Set<string>();
  let end = blocks;
  for (const [index, { rawDigest, rawSizeBytes }] of config.devices.entries()) {
    const slot = devices[index] ?? NOTHING;
    if (slot.blocks !== rawSizeBytes / EROFS_BLOCK_BYTES) {
      refuse(
        `device ${index + 1} has ${slot.blocks} blocks in its meta and ${rawSizeBytes} bytes in its config`,
      );
    }
    if (seen.has(rawDigest)) refuse(`device ${index + 1} is listed twice`);
    if (slot.unifiedBlock < end) refuse(`device ${index + 1} lies over what stands before it`);
    seen.add(rawDigest);
    end = slot.unifiedBlock + slot.blocks;
  }
}

function refuse(why: string): never {
  throw new DrakkarError('invalid_content', `the snapshot is not consistent: ${why}`, {
    hint: 'build it anew: drakkar snapshot build --rebuild IMAGE',
  });
}
