import { DrakkarError } from '@drakkar/errors';
import { type Digest, rawOf } from './digest.ts';
import { fixedPieceLength, type PieceTable } from './pieces.ts';

/** How a blob is cut into pieces, which are numbered from 0. */
export interface Cut {
  readonly sizeBytes: number;
  readonly pieceCount: number;
  readonly longestPieceBytes: number;
  /** Its first byte; the blob's end for a piece beyond the last. */
  start(piece: number): number;
  /** The byte after its last; the blob's end for a piece beyond the last. */
  end(piece: number): number;
  /** The piece that a byte is in. */
  pieceAt(offset: number): number;
  /** What the bytes of a piece hash to, where somebody trusted says so. */
  sha256(piece: number): Uint8Array | undefined;
}

/** A piece table that is trusted, and the digest of its wire form, under which it is a blob itself. */
export interface NamedPieceTable {
  readonly digest: Digest;
  readonly table: PieceTable;
}

/** A host gives no more than this in one answer; docs/PROTOCOL.md, "Data plane". */
export const MAX_PIECE_BYTES = 32 * 1024 * 1024;

export const lengthOf = (cut: Cut, piece: number): number => cut.end(piece) - cut.start(piece);

export const isCutByTable = (cut: Cut): boolean => cut.sha256(0) !== undefined;

/** As every blob is cut of which only the size is known: the last piece is shorter. @param length another than hosts agree on */
export function fixedCut(sizeBytes: number, length = fixedPieceLength(sizeBytes)): Cut {
  return {
    sizeBytes,
    pieceCount: Math.ceil(sizeBytes / length),
    longestPieceBytes: length,
    start: (piece) => Math.min(piece * length, sizeBytes),
    end: (piece) => Math.min((piece + 1) * length, sizeBytes),
    pieceAt: (offset) => Math.floor(offset / length),
    sha256: () => undefined,
  };
}

/** As a trusted table says. @throws `limit_exceeded` for a piece that no host would give */
export function tableCut({ sizeBytes, pieces }: PieceTable): Cut {
  const longestPieceBytes = pieces.reduce((longest, { length }) => Math.max(longest, length), 0);
  if (longestPieceBytes > MAX_PIECE_BYTES) {
    throw new DrakkarError(
      'limit_exceeded',
      `the piece table has a piece of ${longestPieceBytes} bytes; the limit is ${MAX_PIECE_BYTES}`,
    );
  }
  return {
    sizeBytes,
    pieceCount: pieces.length,
    longestPieceBytes,
    start: (piece) => pieces[piece]?.offset ?? sizeBytes,
    end: (piece) => pieces[piece + 1]?.offset ?? sizeBytes,
    pieceAt(offset) {
      let first = 0;
      let last = pieces.length - 1;
      while (first < last) {
        const middle = Math.ceil((first + last) / 2);
        if ((pieces[middle]?.offset ?? sizeBytes) <= offset) first = middle;
        else last = middle - 1;
      }
      return first;
    },
    sha256(piece) {
      const known = pieces[piece];
      return known === undefined ? undefined : rawOf(known.sha256);
    },
  };
}
