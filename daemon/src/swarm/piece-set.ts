/** Pieces of one blob, a bit each. Sets of the same blob can be compared word by word. */
export class PieceSet {
  /** Bit `piece % 32` of word `piece / 32`. */
  readonly words: Int32Array;

  constructor(pieceCount: number) {
    this.words = new Int32Array((pieceCount + 31) >>> 5);
  }

  has(piece: number): boolean {
    return ((this.words[piece >>> 5] ?? 0) & (1 << (piece & 31))) !== 0;
  }

  /** @returns whether that is new; pieces that there are not are left out */
  add(piece: number): boolean {
    const word = this.words[piece >>> 5];
    if (word === undefined || (word & (1 << (piece & 31))) !== 0) return false;
    this.words[piece >>> 5] = word | (1 << (piece & 31));
    return true;
  }

  delete(piece: number): void {
    const word = this.words[piece >>> 5];
    if (word !== undefined) this.words[piece >>> 5] = word & ~(1 << (piece & 31));
  }

  /** How many are in this set and in none of the other. */
  countWithout(other: PieceSet): number {
    let count = 0;
    for (let index = 0; index < this.words.length; index += 1)
      count += countOnes((this.words[index] ?? 0) & ~(other.words[index] ?? 0));
    return count;
  }

  *[Symbol.iterator](): Generator<number> {
    for (let index = 0; index < this.words.length; index += 1) {
      for (let left = this.words[index] ?? 0; left !== 0; left &= left - 1)
        yield (index << 5) | lowestBit(left);
    }
  }
}

/** Where the lowest bit of a word is that is set. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Source: the parallel bit count, Henry S. Warren, Hacker’s Delight. */
function countOnes(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
