import { DrakkarError } from '@drakkar/errors';
import { EROFS_BLOCK_BYTES, MAX_DEVICES } from './snapshot.ts';

/** A part of a device of a snapshot. Offset and length are bytes, multiples of 4096. */
export interface DeviceRange {
  /** The device's slot, from 0. */
  readonly device: number;
  readonly offset: number;
  readonly length: number;
}

/** What one start has read of the devices of a snapshot, in the order in which it came to each part first. */
export type Trace = readonly DeviceRange[];

/** Longer ones are cut off: what a start reads that late is no hurry. */
export const MAX_TRACE_RANGES = 16_384;

/** Of one way to start one snapshot: the newest say what starts read. */
export const MAX_TRACES = 8;

/** Device, first block and number of blocks, each in 4 bytes. */
const RANGE_BYTES = 12;

/** As it stands in messages and databases, little-endian. */
export function encodeTrace(trace: Trace): Uint8Array {
  const ranges = trace.slice(0, MAX_TRACE_RANGES);
  const bytes = Buffer.alloc(ranges.length * RANGE_BYTES);
  for (const [index, { device, offset, length }] of ranges.entries()) {
    bytes.writeUInt32LE(device, index * RANGE_BYTES);
    bytes.writeUInt32LE(offset / EROFS_BLOCK_BYTES, index * RANGE_BYTES + 4);
    bytes.writeUInt32LE(length / EROFS_BLOCK_BYTES, index * RANGE_BYTES + 8);
  }
  return bytes;
}

/** @throws `invalid_content` | `limit_exceeded` */
export function decodeTrace(encoded: Uint8Array): DeviceRange[] {
  const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  const count = bytes.length / RANGE_BYTES;
  if (!Number.isInteger(count)) throw new DrakkarError('invalid_content', 'a trace ends within a range');
  requireShort(count);
  const trace = Array.from({ length: count }, (_, index) => ({
    device: bytes.readUInt32LE(index * RANGE_BYTES),
    offset: bytes.readUInt32LE(index * RANGE_BYTES + 4) * EROFS_BLOCK_BYTES,
    length: bytes.readUInt32LE(index * RANGE_BYTES + 8) * EROFS_BLOCK_BYTES,
  }));
  requireTrace(trace);
  return trace;
}

/** @throws `invalid_content` | `limit_exceeded` for what no start has read */
export function requireTrace(trace: Trace): void {
  requireShort(trace.length);
  if (!trace.every(isRange)) throw new DrakkarError('invalid_content', 'a trace has a range of no device');
}

function requireShort(ranges: number): void {
  if (ranges <= MAX_TRACE_RANGES) return;
  throw new DrakkarError('limit_exceeded', `a trace has ${ranges} ranges; the limit is ${MAX_TRACE_RANGES}`);
}

/** Blocks are counted in 32 bits. */
const MAX_BLOCK = 2 ** 32;

function isRange({ device, offset, length }: DeviceRange): boolean {
  const [block, blocks] = [offset / EROFS_BLOCK_BYTES, length / EROFS_BLOCK_BYTES];
  return (
    Number.isInteger(device) &&
    Number.isInteger(block) &&
    Number.isInteger(blocks) &&
    device >= 0 &&
    device < MAX_DEVICES &&
    block >= 0 &&
    blocks > 0 &&
    block + blocks <= MAX_BLOCK
  );
}
