import { type DeviceRange, EROFS_BLOCK_BYTES, type Trace } from '@drakkar/protocol';
import { blocksOf } from '../erofs/index.ts';
import { type ChunkRun, type Directory, type FileContent, filesBelow, nodeAt } from '../layers/index.ts';

/** A part of a file, in bytes. */
export interface FileRange {
  /** Without a slash before it, as `latin1`, as names have everywhere here. */
  readonly path: string;
  /** A multiple of 4096. */
  readonly offset: number;
  /** Never beyond the end of the file. */
  readonly length: number;
}

/** Where a part of a file lies on a device, in bytes. */
interface Placed {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  /** In the file. */
  readonly offset: number;
}

/** What lies on a device, by where it begins; chunks that several files share lie in the same place. */
interface DeviceMap {
  readonly placed: readonly Placed[];
  /** How far what begins here or before reaches. */
  readonly reach: Float64Array;
}

/**
 * Which parts of files lie in ranges of devices: for each range those in the order in which they lie there. A file that has several names stands
 * there by the first.
 */
export function filesIn(root: Directory, ranges: Trace): FileRange[][] {
  const devices = mapDevices(root, new Set(ranges.map(({ device }) => device)));
  return ranges.map(({ device, offset, length }) => {
    const map = devices.get(device);
    return map === undefined ? [] : placedWithin(map, offset, offset + length);
  });
}

/** Where parts of files lie: the other way about. What of them is not in the tree, or is a hole, is left out. */
export function rangesOf(root: Directory, files: readonly FileRange[]): DeviceRange[] {
  return files.flatMap(({ path, offset, length }) => {
    const node = nodeAt(root, `/${path}`);
    return node?.kind === 'file' ? rangesWithin(node.content, offset, offset + length) : [];
  });
}

function rangesWithin(content: FileContent, start: number, end: number): DeviceRange[] {
  return content.runs.flatMap((run) => {
    const placed = placeOf(content, run);
    const from = Math.max(start, placed.offset);
    const to = Math.min(end, placed.offset + placed.end - placed.start);
    if (from >= to) return [];
    const offset = placed.start + from - placed.offset;
    const length = blocksOf(to - from) * EROFS_BLOCK_BYTES;
    return [{ device: run.device, offset, length }];
  });
}

function placedWithin({ placed, reach }: DeviceMap, start: number, end: number): FileRange[] {
  const found: FileRange[] = [];
  for (let at = countBefore(placed, end) - 1; at >= 0 && (reach[at] ?? 0) > start; at -= 1) {
    const part = placed[at];
    if (part === undefined || part.end <= start) continue;
    const from = Math.max(start, part.start);
    const length = Math.min(end, part.end) - from;
    found.push({ path: part.path, offset: part.offset + from - part.start, length });
  }
  return found.reverse();
}

/** How many begin before an offset. */
function countBefore(placed: readonly Placed[], offset: number): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((placed[middle]?.start ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function mapDevices(root: Directory, wanted: ReadonlySet<number>): Map<number, DeviceMap> {
  const placed = new Map<number, Placed[]>([...wanted].map((device) => [device, []]));
  const seen = new Set<FileContent>();
  for (const {
    path,
    inode: { content },
  } of filesBelow(root)) {
    // A hard link is the same file.
    if (seen.has(content)) continue;
    seen.add(content);
    for (const run of content.runs) placed.get(run.device)?.push({ path, ...placeOf(content, run) });
  }
  return new Map([...placed].map(([device, parts]) => [device, mapOf(parts)]));
}

/** The last chunk of a file is as long as the file is. */
function placeOf(
  { sizeBytes, chunkBits }: FileContent,
  { firstChunk, chunkCount, startBlock }: ChunkRun,
): Omit<Placed, 'path'> {
  const chunkBytes = 2 ** chunkBits;
  const start = startBlock * EROFS_BLOCK_BYTES;
  const offset = firstChunk * chunkBytes;
  return { start, end: start + Math.min(chunkCount * chunkBytes, sizeBytes - offset), offset };
}

function mapOf(parts: Placed[]): DeviceMap {
  const placed = parts.sort((one, other) => one.start - other.start);
  let furthest = 0;
  const reach = Float64Array.from(placed, ({ end }) => {
    furthest = Math.max(furthest, end);
    return furthest;
  });
  return { placed, reach };
}
