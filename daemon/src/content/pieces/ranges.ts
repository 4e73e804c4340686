import type { Cut } from '@drakkar/protocol';

/** Pieces that are read together: from the first to the last. */
export interface PieceRange {
  readonly first: number;
  readonly last: number;
}

/** A piece and what follows it, as long as that is wanted from the same place and the whole is not too long. Pure. */
export function rangeFrom(
  cut: Cut,
  first: number,
  mostBytes: number,
  isToo: (piece: number) => boolean,
): PieceRange {
  let last = first;
  while (last + 1 < cut.pieceCount && cut.end(last + 1) - cut.start(first) <= mostBytes && isToo(last + 1)) {
    last += 1;
  }
  return { first, last };
}

export const piecesOf = ({ first, last }: PieceRange): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);
