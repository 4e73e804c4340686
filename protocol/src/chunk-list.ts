import { DrakkarError } from '@drakkar/errors';
import { MAX_CHUNK_LIST_BYTES, MAX_DEVICES } from './snapshot.ts';

/** A chunk of files' contents, and where on a snapshot's devices it lies. */
export interface ListedChunk {
  /** 32 bytes, of exactly the chunk's bytes: without the zeros that fill its last block. */
  readonly sha256: Uint8Array;
  /** Slot of the device in the snapshot's config. */
  readonly device: number;
  /** Block of 4096 bytes on the device at which it begins. */
  readonly startBlock: number;
  readonly blocks: number;
}

/** What a snapshot uses of its devices. */
export interface ChunkList {
  /** How many blocks of each device are used, in slot order. */
  readonly usedBlocks: readonly number[];
  /** All chunks, in the order of their devices and blocks. Their `sha256` is a view of the encoded list. */
  chunks(): Generator<ListedChunk, void, undefined>;
}

/**
 * Encoded form of a chunk list: `DKCL`, version u32, device count u32; per device the count of its chunks u32; then in columns,
 * which compress better than rows, per chunk: the unused blocks before it u32; its blocks u16; its sha256 (32 bytes).
 * Little-endian. Chunks ascend and never overlap, since gaps are no less than 0.
 *
 * The whole sha256: a reader of a chunk that only seems to be the same would be given another file's bytes, and who makes
 * images could look for such chunks if less of it counted.
 */
const MAGIC = 0x4c434b44;
const VERSION = 1;
const HEADER_BYTES = 12;
const COUNT_BYTES = 4;
const GAP_BYTES = 4;
const BLOCKS_BYTES = 2;
const SHA256_BYTES = 32;
const CHUNK_BYTES = GAP_BYTES + BLOCKS_BYTES + SHA256_BYTES;

/** A snapshot with more chunks has no list. */
export const MAX_LISTED_CHUNKS = Math.floor(
  (MAX_CHUNK_LIST_BYTES - HEADER_BYTES - MAX_DEVICES * COUNT_BYTES) / CHUNK_BYTES,
);

/**
 * Canonical: the same chunks give the same bytes.
 *
 * @param chunks exactly `chunkCount`, in the order of their devices and blocks
 */
export function encodeChunkList(
  deviceCount: number,
  chunkCount: number,
  chunks: Iterable<ListedChunk>,
): Uint8Array {
  const columns = columnsOf(deviceCount, chunkCount);
  const bytes = Buffer.alloc(columns.end);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeUInt32LE(deviceCount, 8);
  let index = 0;
  let last: ListedChunk | undefined;
  for (const chunk of chunks) {
    const countAt = HEADER_BYTES + chunk.device * COUNT_BYTES;
    bytes.writeUInt32LE(bytes.readUInt32LE(countAt) + 1, countAt);
    const end = last?.device === chunk.device ? last.startBlock + last.blocks : 0;
    bytes.writeUInt32LE(chunk.startBlock - end, columns.gaps + index * GAP_BYTES);
    bytes.writeUInt16LE(chunk.blocks, columns.blocks + index * BLOCKS_BYTES);
    bytes.set(chunk.sha256, columns.sha256 + index * SHA256_BYTES);
    last = chunk;
    index += 1;
  }
  return bytes;
}

/**
 * @param deviceBlocks how many blocks each device has, in slot order, as the snapshot's config says; those that the list does not speak of come last
 * @throws `invalid_content` unless the bytes are exactly one list of chunks that all lie on those devices
 */
export function decodeChunkList(input: Uint8Array, deviceBlocks: readonly number[]): ChunkList {
  const refuse = (why: string): never => {
    throw new DrakkarError('invalid_content', `the chunk list ${why}`);
  };
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) refuse('does not start as one');
  if (bytes.readUInt32LE(4) !== VERSION) refuse(`has the unknown version ${bytes.readUInt32LE(4)}`);
  const deviceCount = bytes.readUInt32LE(8);
  // Behind them may be the start device, on which nothing lies that does not lie elsewhere, too.
  if (deviceCount > deviceBlocks.length) refuse(`is of ${deviceCount} devices, not ${deviceBlocks.length}`);
  if (bytes.length < HEADER_BYTES + deviceCount * COUNT_BYTES) refuse('ends early');
  const chunkCounts = deviceBlocks
    .slice(0, deviceCount)
    .map((_, device) => bytes.readUInt32LE(HEADER_BYTES + device * COUNT_BYTES));
  const total = chunkCounts.reduce((sum, count) => sum + count, 0);
  if (total > MAX_LISTED_CHUNKS) refuse(`has ${total} chunks; the limit is ${MAX_LISTED_CHUNKS}`);
  const columns = columnsOf(deviceCount, total);
  if (bytes.length !== columns.end) refuse('is not as long as its counts say');

  const usedBlocks: number[] = [];
  let index = 0;
  for (const [device, count] of chunkCounts.entries()) {
    let used = 0;
    let end = 0;
    for (let left = count; left > 0; left--, index++) {
      const blocks = bytes.readUInt16LE(columns.blocks + index * BLOCKS_BYTES);
      if (blocks === 0) refuse('has an empty chunk');
      used += blocks;
      end += bytes.readUInt32LE(columns.gaps + index * GAP_BYTES) + blocks;
    }
    if (end > (deviceBlocks[device] ?? 0)) refuse(`has chunks beyond the end of device ${device}`);
    usedBlocks.push(used);
  }
  return { usedBlocks, chunks: () => chunksOf(bytes, chunkCounts, columns) };
}

function* chunksOf(
  bytes: Buffer,
  chunkCounts: readonly number[],
  columns: Columns,
): Generator<ListedChunk, void, undefined> {
  let index = 0;
  for (const [device, count] of chunkCounts.entries()) {
    let startBlock = 0;
    for (let left = count; left > 0; left--, index++) {
      startBlock += bytes.readUInt32LE(columns.gaps + index * GAP_BYTES);
      const blocks = bytes.readUInt16LE(columns.blocks + index * BLOCKS_BYTES);
      const at = columns.sha256 + index * SHA256_BYTES;
      yield { sha256: bytes.subarray(at, at + SHA256_BYTES), device, startBlock, blocks };
      startBlock += blocks;
    }
  }
}

/** Offsets of the columns, and of their end. */
interface Columns {
  readonly gaps: number;
  readonly blocks: number;
  readonly sha256: number;
  readonly end: number;
}

function columnsOf(deviceCount: number, chunkCount: number): Columns {
  const gaps = HEADER_BYTES + deviceCount * COUNT_BYTES;
  const blocks = gaps + chunkCount * GAP_BYTES;
  const sha256 = blocks + chunkCount * BLOCKS_BYTES;
  return { gaps, blocks, sha256, end: sha256 + chunkCount * SHA256_BYTES };
}
