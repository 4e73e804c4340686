import { EROFS_BLOCK_BYTES, type Trace } from '@drakkar/protocol';
import type { ChunkRun, Directory, FileContent } from '../layers/index.ts';

/** Where a part of a file lies on a device, in bytes. */
interface Placed {
  readonly path: string;
  readonly start: number;
  readonly end: number;
}

/** What lies on a device, by where it begins; chunks that several files share lie in the same place. */
interface DeviceMap {
  readonly placed: readonly Placed[];
  /** How far what begins here or before reaches. */
  readonly reach: Float64Array;
}

/**
 * Which files lie in ranges of devices: for each range their paths, in the order in which they lie there. Paths have no slash before them and are
 * `latin1`, as names have everywhere here.
 */
export function filesIn(root: Directory, ranges: Trace): string[][] {
  const devices = mapDevices(root, new Set(ranges.map(({ device }) => device)));
  return ranges.map(({ device, offset, length }) => {
    const map = devices.get(device);
    return map === undefined ? [] : [...new Set(pathsWithin(map, offset, offset + length))];
  });
}

function pathsWithin({ placed, reach }: DeviceMap, start: number, end: number): string[] {
  const found: string[] = [];
  for (let at = countBefore(placed, end) - 1; at >= 0 && (reach[at] ?? 0) > start; at -= 1) {
    const part = placed[at];
    if (part !== undefined && part.end > start) found.push(part.path);
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
  for (const { path, content } of filesBelow(root)) {
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
  return { start, end: start + Math.min(chunkCount * chunkBytes, sizeBytes - firstChunk * chunkBytes) };
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

function* filesBelow(root: Directory): Generator<{ path: string; content: FileContent }> {
  const pending = [{ directory: root, path: '' }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const [name, inode] of next.directory.entries) {
      const path = `${next.path}${name}`;
      if (inode.kind === 'directory') pending.push({ directory: inode, path: `${path}/` });
      else if (inode.kind === 'file') yield { path, content: inode.content };
    }
  }
}
