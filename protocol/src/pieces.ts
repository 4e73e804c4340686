import { DrakkarError } from '@drakkar/errors';
import { type Digest, digestFromHex, hexOf } from './digest.ts';

/** One verifiable range of a blob. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly sha256: Digest;
}

/** How a blob is cut: pieces in order, without gap or overlap, that together are the whole blob. */
export interface PieceTable {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly pieces: readonly Piece[];
}

const MEBIBYTE = 1024 * 1024;

/** `clamp(nextPow2(size/256), 1 MiB, 4 MiB)`: at most a few hundred pieces a blob, each worth a request. */
export function fixedPieceLength(sizeBytes: number): number {
  let length = MEBIBYTE;
  while (length < 4 * MEBIBYTE && length < sizeBytes / 256) length *= 2;
  return length;
}

/**
 * Wire form of a piece table: `DKPT`, version u32, blob size u64, blob sha256 (32 bytes), count u32, then per piece
 * its length u32 and its sha256 (32 bytes). Little-endian. Offsets follow from the lengths, so they cannot lie.
 */
const MAGIC = 0x54504b44;
const VERSION = 1;
const HEADER_BYTES = 52;
const ENTRY_BYTES = 36;

/** 4 Mi pieces of 512 KiB are 2 TiB: more than any blob that a registry takes. */
export const MAX_PIECES = 4 * 1024 * 1024;

export function encodePieceTable(table: PieceTable): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES + table.pieces.length * ENTRY_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeBigUInt64LE(BigInt(table.sizeBytes), 8);
  bytes.write(hexOf(table.digest), 16, 'hex');
  bytes.writeUInt32LE(table.pieces.length, 48);
  let at = HEADER_BYTES;
  for (const piece of table.pieces) {
    bytes.writeUInt32LE(piece.length, at);
    bytes.write(hexOf(piece.sha256), at + 4, 'hex');
    at += ENTRY_BYTES;
  }
  return bytes;
}

/** How many pieces a table lists whose wire form has so many bytes; `undefined` where none has. */
export function pieceCountOfTable(encodedBytes: number): number | undefined {
  const count = (encodedBytes - HEADER_BYTES) / ENTRY_BYTES;
  return Number.isInteger(count) && count >= 0 && count <= MAX_PIECES ? count : undefined;
}

/** @throws `invalid_content` unless the bytes are exactly one consistent table. */
export function decodePieceTable(input: Uint8Array): PieceTable {
  const refuse = (why: string): never => {
    throw new DrakkarError('invalid_content', `the piece table ${why}`);
  };
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) refuse('does not start as one');
  if (bytes.readUInt32LE(4) !== VERSION) refuse(`has the unknown version ${bytes.readUInt32LE(4)}`);
  const size = bytes.readBigUInt64LE(8);
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) refuse('names an absurd blob size');
  const sizeBytes = Number(size);
  const count = bytes.readUInt32LE(48);
  if (count > MAX_PIECES) refuse(`has ${count} pieces; the limit is ${MAX_PIECES}`);
  if (bytes.length !== HEADER_BYTES + count * ENTRY_BYTES) refuse('is not as long as its count says');
  const pieces: Piece[] = [];
  let offset = 0;
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const length = bytes.readUInt32LE(at);
    if (length === 0) refuse('has an empty piece');
    pieces.push({ offset, length, sha256: digestFromHex(bytes.toString('hex', at + 4, at + ENTRY_BYTES)) });
    offset += length;
  }
  if (offset !== sizeBytes) refuse(`covers ${offset} bytes of a blob of ${sizeBytes}`);
  return { digest: digestFromHex(bytes.toString('hex', 16, 48)), sizeBytes, pieces };
}
