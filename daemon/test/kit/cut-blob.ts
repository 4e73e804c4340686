import { randomBytes } from 'node:crypto';
import {
  type Digest,
  digestOf,
  encodePieceTable,
  type NamedPieceTable,
  type Piece,
  type PieceTable,
} from '@drakkar/protocol';

/** A blob of random bytes, and a table that cuts it. */
export interface CutBlob {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly named: NamedPieceTable;
  /** The table's wire form. */
  readonly encoded: Buffer;
  piece(index: number): Buffer;
}

/** @param lengths of its pieces, in bytes */
export function cutBlob(lengths: readonly number[]): CutBlob {
  const sizeBytes = lengths.reduce((sum, length) => sum + length, 0);
  const bytes = randomBytes(sizeBytes);
  const pieces: Piece[] = [];
  let offset = 0;
  for (const length of lengths) {
    pieces.push({ offset, length, sha256: digestOf(bytes.subarray(offset, offset + length)) });
    offset += length;
  }
  const digest = digestOf(bytes);
  const table = { digest, sizeBytes, pieces };
  return {
    bytes,
    digest,
    sizeBytes,
    named: named(table),
    encoded: Buffer.from(encodePieceTable(table)),
    piece(index) {
      const { offset: start = 0, length = 0 } = pieces[index] ?? {};
      return bytes.subarray(start, start + length);
    },
  };
}

const named = (table: PieceTable): NamedPieceTable => ({ digest: digestOf(encodePieceTable(table)), table });

/** A table that says of one piece what is not so. */
export function wrongTable({ named: { table } }: CutBlob, wrong: number): NamedPieceTable {
  const pieces = table.pieces.map((piece, index) =>
    index === wrong ? { ...piece, sha256: digestOf('something else') } : piece,
  );
  return named({ ...table, pieces });
}
