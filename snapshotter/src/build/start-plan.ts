import { type DeviceRange, EROFS_BLOCK_BYTES, mergeTraces, type Trace } from '@drakkar/protocol';
import { blocksOf, RunList } from '../erofs/index.ts';
import { type ChunkRun, type Directory, type FileContent, filesBelow } from '../layers/index.ts';

/**
 * Of what starts read nothing larger is taken at a time, so that what lies beside is not read along with it: with parts of 64 KiB
 * starts of python3 with numpy and of nodejs fetch 30 and 45 MiB where blocks of 512 KiB are 52 and 56 [measured].
 */
const MAX_PART_BITS = 16;

/** More than any start reads. Bounded, since all of it is stored twice. */
export const MAX_START_BYTES = 512 * 1024 * 1024;

/** A part of a device that lies once more on the start device. */
export interface StartPart {
  readonly device: number;
  readonly startBlock: number;
  readonly blocks: number;
}

/** What starts read, gathered on one device. */
export interface StartPlan {
  /** As they lie on the start device, one behind the other: in the order in which starts come to them. */
  readonly parts: readonly StartPart[];
  /** What starts read, in that order, where it lies once the tree refers to the start device. */
  readonly prefetch: Trace;
}

export interface StartPlanOptions {
  /** Slot that the start device is going to have. */
  readonly slot: number;
  /** Whether what lies on a device may be laid on the start device; else it stays where it is. */
  readonly mayMove: (device: number) => boolean;
}

/** Which parts of a tree's files starts read, and where they are to lie. Pure. */
export function planStart(root: Directory, reads: Trace, { slot, mayMove }: StartPlanOptions): StartPlan {
  const ranges = mergeTraces([reads]);
  const moving = new Ranks(ranges, mayMove);
  const ranked = new Map<number, StartPart & { readonly rank: number }>();
  for (const content of contentsBelow(root)) {
    for (const { part } of partsOf(content)) {
      const rank = moving.of(part);
      if (rank !== undefined) ranked.set(keyOf(part), { ...part, rank });
    }
  }
  const parts = within(MAX_START_BYTES / EROFS_BLOCK_BYTES, [...ranked.values()].sort(byRank));
  let endBlock = 0;
  const moved = parts.map(({ rank, blocks }) => {
    const offset = endBlock * EROFS_BLOCK_BYTES;
    endBlock += blocks;
    return { rank, range: { device: slot, offset, length: blocks * EROFS_BLOCK_BYTES } };
  });
  const staying = ranges.flatMap((range, rank) => (mayMove(range.device) ? [] : [{ rank, range }]));
  const prefetch = [...moved, ...staying].sort((one, other) => one.rank - other.rank);
  return { parts, prefetch: joined(prefetch.map(({ range }) => range)) };
}

/** Has the files of a tree refer to the start device for what lies on it. */
export function moveToStart(root: Directory, parts: readonly StartPart[], slot: number): void {
  const places = new Map<number, number>();
  let endBlock = 0;
  for (const part of parts) {
    places.set(keyOf(part), endBlock);
    endBlock += part.blocks;
  }
  const moved = new Map<FileContent, FileContent>();
  for (const content of contentsBelow(root)) moved.set(content, movedContent(content, places, slot));
  for (const { inode } of filesBelow(root)) inode.content = moved.get(inode.content) ?? inode.content;
}

function movedContent(content: FileContent, places: ReadonlyMap<number, number>, slot: number): FileContent {
  const bits = partBitsOf(content);
  const runs = new RunList(2 ** bits / EROFS_BLOCK_BYTES);
  let isMoved = false;
  for (const { index, part } of partsOf(content)) {
    const place = places.get(keyOf(part));
    isMoved ||= place !== undefined;
    if (place === undefined) runs.add(index, part.device, part.startBlock);
    else runs.add(index, slot, place);
  }
  return isMoved ? { sizeBytes: content.sizeBytes, chunkBits: bits, runs: runs.list } : content;
}

function* contentsBelow(root: Directory): Generator<FileContent, void, undefined> {
  const seen = new Set<FileContent>();
  for (const { inode } of filesBelow(root)) {
    if (!seen.has(inode.content)) yield inode.content;
    seen.add(inode.content);
  }
}

const partBitsOf = ({ chunkBits }: FileContent): number => Math.min(chunkBits, MAX_PART_BITS);

/** The parts in which a file may be moved, by their index in the file. */
function* partsOf(content: FileContent): Generator<{ index: number; part: StartPart }, void, undefined> {
  const bits = partBitsOf(content);
  const [step, perChunk] = [2 ** bits / EROFS_BLOCK_BYTES, 2 ** (content.chunkBits - bits)];
  const count = Math.ceil(content.sizeBytes / 2 ** bits);
  for (const run of content.runs) {
    const first = run.firstChunk * perChunk;
    const end = Math.min(count, first + run.chunkCount * perChunk);
    for (let index = first; index < end; index += 1)
      yield { index, part: partAt(content, run, index, first, step) };
  }
}

/** The last part of a file is as long as the file is. */
function partAt(
  { sizeBytes }: FileContent,
  { device, startBlock }: ChunkRun,
  index: number,
  first: number,
  step: number,
): StartPart {
  const blocks = Math.min(step, blocksOf(sizeBytes) - index * step);
  return { device, startBlock: startBlock + (index - first) * step, blocks };
}

const BLOCKS_OF_DEVICE = 2 ** 32;

/** Parts that begin in the same place are the same. */
const keyOf = ({ device, startBlock }: StartPart): number => device * BLOCKS_OF_DEVICE + startBlock;

const byRank = (one: StartPart & { rank: number }, other: StartPart & { rank: number }): number =>
  one.rank - other.rank || keyOf(one) - keyOf(other);

function within<Part extends StartPart>(mostBlocks: number, parts: readonly Part[]): Part[] {
  let blocks = 0;
  return parts.filter((part) => {
    if (blocks + part.blocks > mostBlocks) return false;
    blocks += part.blocks;
    return true;
  });
}

function joined(ranges: readonly DeviceRange[]): DeviceRange[] {
  const list: DeviceRange[] = [];
  for (const range of ranges) {
    const last = list.at(-1);
    const isBehind = last?.device === range.device && last.offset + last.length === range.offset;
    if (isBehind) list[list.length - 1] = { ...last, length: last.length + range.length };
    else list.push(range);
  }
  return list;
}

/** When starts come to the parts of devices: by the place in their list of the range that they come to first. */
class Ranks {
  /** By device, in the order in which they lie there. */
  readonly #ranges = new Map<
    number,
    { readonly start: number; readonly end: number; readonly rank: number }[]
  >();

  /** @param ranges that do not overlap */
  constructor(ranges: Trace, isWanted: (device: number) => boolean) {
    for (const [rank, { device, offset, length }] of ranges.entries()) {
      if (!isWanted(device)) continue;
      const own = this.#ranges.get(device) ?? [];
      this.#ranges.set(device, own);
      const start = offset / EROFS_BLOCK_BYTES;
      own.push({ start, end: start + length / EROFS_BLOCK_BYTES, rank });
    }
    for (const own of this.#ranges.values()) own.sort((one, other) => one.start - other.start);
  }

  of({ device, startBlock, blocks }: StartPart): number | undefined {
    const own = this.#ranges.get(device) ?? [];
    let [low, high] = [0, own.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((own[middle]?.end ?? 0) <= startBlock) low = middle + 1;
      else high = middle;
    }
    let rank: number | undefined;
    for (let at = low; (own[at]?.start ?? Number.POSITIVE_INFINITY) < startBlock + blocks; at += 1) {
      rank = Math.min(rank ?? Number.POSITIVE_INFINITY, own[at]?.rank ?? 0);
    }
    return rank;
  }
}
