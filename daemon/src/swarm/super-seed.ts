import type { PeerId } from '@drakkar/protocol';

/**
 * Which pieces a parent shows to which child, while it is the only one that has them. Each new piece is shown to one child; once
 * another peer is seen to have it, it has left and everybody may know. So a fresh blob leaves its only holder about once, and
 * the children get the rest from each other. Pure state.
 *
 * A child is shown no more than a few pieces that nobody has passed on: who takes and does not give waits.
 */
export class SuperSeed {
  readonly #shownTo = new Map<number, PeerId>();
  readonly #children = new Map<PeerId, Set<number>>();
  readonly #spread: Uint8Array;
  readonly #have = new Set<number>();
  /** In the order in which they came: what was shown to a child that has left goes to the next. */
  readonly #unshown = new Set<number>();
  readonly #ahead: number;

  /** @param ahead pieces that one child may be shown before any of them has been passed on */
  constructor(pieceCount: number, ahead: number) {
    this.#spread = new Uint8Array(pieceCount);
    this.#ahead = ahead;
  }

  /** Pieces that are here from now on. @returns those of them that everybody may know of: others have them already */
  gained(pieces: Iterable<number>): number[] {
    const known: number[] = [];
    for (const piece of pieces) {
      if (this.#have.has(piece)) continue;
      this.#have.add(piece);
      if (this.hasSpread(piece)) known.push(piece);
      else this.#unshown.add(piece);
    }
    return known;
  }

  enter(child: PeerId): void {
    if (!this.#children.has(child)) this.#children.set(child, new Set());
  }

  leave(child: PeerId): void {
    for (const piece of this.#children.get(child) ?? []) {
      this.#shownTo.delete(piece);
      if (this.#spread[piece] === 0) this.#unshown.add(piece);
    }
    this.#children.delete(child);
  }

  /**
   * A peer says that it has these. One that it was shown itself has only left us when a second peer has it, or when it is the
   * only child.
   *
   * @returns those that are here and of which everybody may know from now on
   */
  seenAt(peer: PeerId, pieces: Iterable<number>): number[] {
    const known: number[] = [];
    for (const piece of pieces) {
      const shownTo = this.#shownTo.get(piece);
      if (this.hasSpread(piece) || (shownTo === peer && this.#children.size > 1)) continue;
      this.#spread[piece] = 1;
      this.#unshown.delete(piece);
      if (this.#have.has(piece)) known.push(piece);
      if (shownTo === undefined) continue;
      this.#children.get(shownTo)?.delete(piece);
      this.#shownTo.delete(piece);
    }
    return known;
  }

  /** What to show to whom now, besides what has been shown: pieces that have spread are everybody's. */
  next(): Map<PeerId, number[]> {
    const shown = new Map<PeerId, number[]>();
    for (;;) {
      const child = this.#leastShown();
      const [piece] = this.#unshown;
      if (child === undefined || piece === undefined) return shown;
      this.#unshown.delete(piece);
      this.#shownTo.set(piece, child);
      this.#children.get(child)?.add(piece);
      shown.set(child, [...(shown.get(child) ?? []), piece]);
    }
  }

  /** Nobody passes anything on: everybody may know everything. @returns what was held back */
  release(): number[] {
    const held = [...this.#have].filter((piece) => !this.hasSpread(piece));
    for (const piece of held) {
      this.#spread[piece] = 1;
      const child = this.#shownTo.get(piece);
      if (child !== undefined) this.#children.get(child)?.delete(piece);
    }
    this.#shownTo.clear();
    this.#unshown.clear();
    return held;
  }

  hasSpread(piece: number): boolean {
    return this.#spread[piece] === 1;
  }

  #leastShown(): PeerId | undefined {
    let best: PeerId | undefined;
    let fewest = this.#ahead;
    for (const [child, pieces] of this.#children) {
      if (pieces.size >= fewest) continue;
      best = child;
      fewest = pieces.size;
    }
    return best;
  }
}
