import { readFile } from 'node:fs/promises';
import {
  type ChunkListFile,
  type Digest,
  DrakkarError,
  decodeChunkList,
  digestOf,
  MAX_DEVICES,
  type VolumeFile,
} from '@drakkar/protocol';
import { decompressFrame } from '../blob/index.ts';
import { blocksOf } from '../erofs/index.ts';
import { type ChunkIndex, type ChunkPlace, MemoryChunkIndex } from './chunk-index.ts';

/** An earlier snapshot of the same repository, whose devices a build may refer to. */
export interface DictionarySource {
  /** Its chunk list, as its signed config names it. */
  readonly list: ChunkListFile;
  /** Where the chunk list's blob lies. */
  readonly listPath: string;
  /** All its devices, in slot order. */
  readonly devices: readonly VolumeFile[];
  /** Slots of those that may be referred to. */
  readonly usable: readonly number[];
}

/** The part of an earlier snapshot that a build refers to: devices, and which chunks lie on them. */
export interface Dictionary {
  /** Chunk places name these by index. */
  readonly devices: readonly VolumeFile[];
  find(sha256: Uint8Array): ChunkPlace | undefined;
}

export const NO_DICTIONARY: Dictionary = { devices: [], find: () => undefined };

/**
 * The rest is for new data. Of fifty versions of twelve layers, in which six files anywhere change each time, 16 for new data
 * would have 3.4 times as much stored as changed, 8 have 2.4 times [measured; 1.3 times are the padding of small files].
 */
export const MAX_DICTIONARY_DEVICES = MAX_DEVICES - 8;

/**
 * A device of which less is used is left behind. What is used of it is copied then, which adds up to a third of what has changed
 * on it since it was made; and a host that begins with the new snapshot does not get much that it never needs.
 */
const LEAST_USED_SHARE = 1 / 4;

/** What devices may hold in vain, of what is used of all, before a build is worth doing again without them. */
const WASTED_SHARE = 1 / 2;

/**
 * Which devices of an earlier snapshot are worth referring to: of which that snapshot still used a good part, and of too many
 * those of which most is used. In ascending order.
 */
export function worthKeeping(
  usedBlocks: readonly number[],
  deviceBlocks: readonly number[],
  maxDevices: number = MAX_DICTIONARY_DEVICES,
): number[] {
  const used = (slot: number) => usedBlocks[slot] ?? 0;
  return deviceBlocks
    .map((_, slot) => slot)
    .filter((slot) => used(slot) > 0 && used(slot) >= (deviceBlocks[slot] ?? 0) * LEAST_USED_SHARE)
    .sort((a, b) => used(b) - used(a) || a - b)
    .slice(0, maxDevices)
    .sort((a, b) => a - b);
}

/** A device that a new snapshot refers to. */
export interface DeviceUse {
  readonly file: VolumeFile;
  readonly usedBlocks: number;
}

/**
 * The devices of an earlier snapshot, by raw digest, of which that one used a good part and the new one hardly uses any: an image that
 * has another base now, for example. None where they hold little in vain: the next version leaves them behind.
 */
export function hardlyUsed(devices: readonly DeviceUse[], earlier: readonly VolumeFile[]): Digest[] {
  const sparse = devices.filter(
    ({ file, usedBlocks }) =>
      usedBlocks < blocksOf(file.rawSizeBytes) * LEAST_USED_SHARE &&
      earlier.some(({ rawDigest }) => rawDigest === file.rawDigest),
  );
  const used = devices.reduce((total, { usedBlocks }) => total + usedBlocks, 0);
  const wasted = sparse.reduce(
    (sum, { file, usedBlocks }) => sum + blocksOf(file.rawSizeBytes) - usedBlocks,
    0,
  );
  return wasted > used * WASTED_SHARE ? sparse.map(({ file }) => file.rawDigest) : [];
}

/** @throws `invalid_content` where the list is not what the config says, or damaged; the disk's errors */
export async function loadDictionary(source: DictionarySource): Promise<Dictionary> {
  const { list, listPath, devices, usable } = source;
  const blob = await readFile(listPath);
  if (digestOf(blob) !== list.blobDigest) {
    throw new DrakkarError('invalid_content', `the chunk list is not ${list.blobDigest}`);
  }
  const deviceBlocks = devices.map(({ rawSizeBytes }) => blocksOf(rawSizeBytes));
  const { usedBlocks, chunks } = decodeChunkList(
    await decompressFrame(blob, list.rawSizeBytes),
    deviceBlocks,
  );
  const kept = worthKeeping(
    usedBlocks.map((blocks, slot) => (usable.includes(slot) ? blocks : 0)),
    deviceBlocks,
  );
  const index: ChunkIndex = new MemoryChunkIndex();
  for (const { sha256, device, startBlock, blocks } of chunks()) {
    const place = kept.indexOf(device);
    if (place >= 0 && index.find(sha256) === undefined)
      index.add(sha256, { device: place, startBlock, blocks });
  }
  return { devices: devices.filter((_, slot) => kept.includes(slot)), find: (sha256) => index.find(sha256) };
}
