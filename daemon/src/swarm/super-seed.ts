import type { PeerId } from '@drakkar/protocol';

/** When nobody has said anything new for so long, everybody is shown everything. */
const RELEASE_MS = 1_000;

/**
 * Which pieces a parent shows to which child, while it is the only one that has them. Each is shown to one child, and to nobody else:
 * the others get it from there. So a fresh blob leaves its only holder about once, whose link is the one that all wait for. Pure
 * state.
 *
 * Children that are near are shown all, where there are several: those that are farther get it from them, each piece once.
 *
 * A child is shown no more than a few pieces that nobody has passed on: who takes and does not give waits. Where {@link mayRelease} says
 * that this is of no use any more, {@link release} lets everybody know everything.
 */
export class SuperSeed {
  readonly #shownTo = new Map<number, PeerId>();
  readonly #children = new Map<PeerId, Set<number>>();
  readonly #distances = new Map<PeerId, number>();
  /** Pieces that a peer has that was not given them, or not alone. */
  readonly #spread: Uint8Array;
  readonly #heldBack = new Set<number>();
  /** In the order in which they came: what was shown to a child that has left goes to the next. */
  readonly #unshown = new Set<number>();
  readonly #ahead: number;
  /** When there was last something new: a newcomer, a piece that has left us, a link that is full. */
  #newsAtMs: number;

  /** @param ahead pieces that one child may be shown before any of them has been passed on */
  constructor(pieceCount: number, ahead: number, nowMs: number) {
    this.#newsAtMs = nowMs;
    this.#spread = new Uint8Array(pieceCount);
    this.#ahead = ahead;
  }

  /** Pieces that are shown, but for {@link next}, to nobody. */
  get heldBack(): number {
    return this.#heldBack.size;
  }

  isHeldBack(piece: number): boolean {
    return this.#heldBack.has(piece);
  }

  /** Pieces that are here from now on, and that nobody else is known to have. */
  gained(pieces: Iterable<number>): void {
    for (const piece of pieces) {
      if (this.#heldBack.has(piece)) continue;
      this.#heldBack.add(piece);
      if (this.#spread[piece] === 0) this.#unshown.add(piece);
    }
  }

  enter(child: PeerId, distance = 0): void {
    if (!this.#children.has(child)) this.#children.set(child, new Set());
    this.#distances.set(child, distance);
  }

  leave(child: PeerId): void {
    for (const piece of this.#children.get(child) ?? []) {
      this.#shownTo.delete(piece);
      if (this.#spread[piece] === 0) this.#unshown.add(piece);
    }
    this.#children.delete(child);
    this.#distances.delete(child);
  }

  /**
   * A peer says that it has these. One that it was shown itself has only left us when a second peer has it, or when it is the only child.
   * @returns how many pieces have left us from now on
   */
  seenAt(peer: PeerId, pieces: Iterable<number>): number {
    let news = 0;
    for (const piece of pieces) {
      const shownTo = this.#shownTo.get(piece);
      if (this.#spread[piece] === 1 || (shownTo === peer && this.#children.size > 1)) continue;
      this.#spread[piece] = 1;
      this.#unshown.delete(piece);
      if (this.#heldBack.has(piece)) news += 1;
      if (shownTo === undefined) continue;
      this.#children.get(shownTo)?.delete(piece);
      this.#shownTo.delete(piece);
    }
    return news;
  }

  /** What to show to whom now, besides what has been shown. */
  next(): Map<PeerId, number[]> {
    const shown = new Map<PeerId, number[]>();
    if (this.#unshown.size === 0) return shown;
    const reach = this.#reach();
    for (;;) {
      const child = this.#leastShown(reach);
      const [piece] = this.#unshown;
      if (child === undefined || piece === undefined) return shown;
      this.#unshown.delete(piece);
      this.#shownTo.set(piece, child);
      this.#children.get(child)?.add(piece);
      const pieces = shown.get(child);
      if (pieces === undefined) shown.set(child, [piece]);
      else pieces.push(piece);
    }
  }

  /** Whoever was shown something is given time to pass it on. */
  stir(nowMs: number): void {
    this.#newsAtMs = nowMs;
  }

  /**
   * Whether holding back is of no use: all pieces have left us, or nobody passes on anything, and there is room on the link for more. To be
   * asked again and again.
   * @param uploads requests that are being served, of so many as may be
   */
  mayRelease(nowMs: number, uploads: number, slots: number): boolean {
    const children = this.#children.size;
    if (children === 0 || this.#heldBack.size === 0) return false;
    // Pieces that take long to leave come long after to whoever is to pass them on.
    if (uploads >= Math.min(slots / 2, children)) this.#newsAtMs = nowMs;
    else if (this.#unshown.size === 0 && this.#shownTo.size === 0) return true;
    return nowMs - this.#newsAtMs >= RELEASE_MS;
  }

  /** Everybody may know everything. @returns what was held back */
  release(): number[] {
    const held = [...this.#heldBack];
    this.#heldBack.clear();
    this.#unshown.clear();
    this.#shownTo.clear();
    for (const pieces of this.#children.values()) pieces.clear();
    return held;
  }

  /** How far away those are that are shown something: as far as the second nearest, since one child alone passes on too little. */
  #reach(): number {
    const [nearest = 0, second = nearest] = [...this.#distances.values()].sort((a, b) => a - b);
    return second;
  }

  #leastShown(reach: number): PeerId | undefined {
    let best: PeerId | undefined;
    let fewest = this.#ahead;
    for (const [child, pieces] of this.#children) {
      if (pieces.size >= fewest || (this.#distances.get(child) ?? 0) > reach) continue;
      best = child;
      fewest = pieces.size;
    }
    return best;
  }
}
