import { chanceOf, numberOf, type PeerId } from '@drakkar/protocol';
import { byUrgency, type Urgency } from '../urgency.ts';

/** A piece may be asked of so many parents at the same time when nothing else is left to ask for. */
const ENDGAME_REQUESTS = 2;

/**
 * Which piece to ask which parent for. Pure state: no clock, no sockets.
 *
 * Urgent pieces come first, since a reader waits for them; then those of the prefetch list in its order; then, unless only what is
 * wanted is fetched, the rarest among the parents, so that what few have spreads first. Pieces that are equally rare are taken in an order of the child's own,
 * so that children of one parent ask for different ones. When every missing piece has been asked for, slow requests are asked
 * again of another parent.
 *
 * Who is far is asked for a share alone: of the peers that are nearer, one by lot is to bring each piece, and the others get it there. So a
 * piece comes once over the link that all of them share.
 */
export class PiecePicker {
  readonly pieceCount: number;
  readonly #have: Uint8Array;
  readonly #parents = new Map<PeerId, Uint8Array>();
  /** How many parents have each piece. */
  readonly #copies: Uint16Array;
  readonly #requests = new Map<number, Set<PeerId>>();
  readonly #order: Uint32Array;
  /** Missing pieces that somebody wants, each once and in the order of asking. */
  readonly #wanted = byUrgency(() => new Set<number>());
  readonly #hedged = new Set<number>();
  readonly #self: number;
  /** How far away each peer is that takes part. */
  readonly #distances = new Map<PeerId, number>();
  /** By distance: which pieces are this host's to bring from there; `null` for all, where nobody is nearer. */
  readonly #shares = new Map<number, Uint8Array | null>();
  readonly #isSelective: boolean;
  #missing: number;

  /**
   * @param self who this is: others come to the same shares, and ask for pieces in another order
   * @param isSelective nothing is fetched but what is wanted
   */
  constructor(pieceCount: number, have: Iterable<number>, self: PeerId, isSelective = false) {
    this.#isSelective = isSelective;
    this.#self = numberOf(self);
    this.pieceCount = pieceCount;
    this.#have = new Uint8Array(pieceCount);
    this.#copies = new Uint16Array(pieceCount);
    this.#order = shuffled(pieceCount, this.#self);
    this.#missing = pieceCount;
    for (const piece of have) this.arrived(piece);
  }

  get missing(): number {
    return this.#missing;
  }

  has(piece: number): boolean {
    return this.#have[piece] === 1;
  }

  /** A peer takes part, and is so far away. */
  enter(peer: PeerId, distance: number): void {
    this.#distances.set(peer, distance);
    this.#shares.clear();
  }

  leave(peer: PeerId): void {
    this.#distances.delete(peer);
    this.#shares.clear();
  }

  /** A parent has these pieces, too. Pieces that there are not are left out. */
  parentHas(parent: PeerId, pieces: Iterable<number>): void {
    const known = this.#parents.get(parent) ?? new Uint8Array(this.pieceCount);
    this.#parents.set(parent, known);
    for (const piece of pieces) {
      if (known[piece] !== 0) continue;
      known[piece] = 1;
      this.#copies[piece] = (this.#copies[piece] ?? 0) + 1;
    }
  }

  parentGone(parent: PeerId): void {
    const known = this.#parents.get(parent);
    if (known === undefined) return;
    this.#parents.delete(parent);
    for (let piece = 0; piece < this.pieceCount; piece += 1) {
      if (known[piece] === 1) this.#copies[piece] = (this.#copies[piece] ?? 1) - 1;
    }
    for (const [piece, parents] of this.#requests) {
      if (parents.delete(parent) && parents.size === 0) this.#requests.delete(piece);
    }
  }

  /** How many pieces of a parent are missing here, and to be fetched. */
  usefulPieces(parent: PeerId): number {
    const known = this.#parents.get(parent);
    if (known === undefined) return 0;
    if (this.#isSelective) return this.#inOrder().filter((piece) => known[piece] === 1).length;
    let useful = 0;
    for (let piece = 0; piece < this.pieceCount; piece += 1) {
      if (known[piece] === 1 && this.#have[piece] === 0) useful += 1;
    }
    return useful;
  }

  /** A reader waits for it. @returns whether that is new */
  urge(piece: number): boolean {
    if (piece >= this.pieceCount || this.has(piece) || this.isUrgent(piece)) return false;
    this.want([piece], 'urgent');
    return true;
  }

  /** What to fetch before the rest, in this order, and instead of what was said before. */
  prefetch(pieces: readonly number[]): void {
    this.#wanted.soon.clear();
    this.want(pieces, 'soon');
  }

  /** Behind what is wanted as soon already; what is wanted sooner stays so. */
  want(pieces: readonly number[], urgency: Urgency): void {
    const { urgent, soon, rest } = this.#wanted;
    for (const piece of pieces) {
      if (piece >= this.pieceCount || this.has(piece) || urgent.has(piece)) continue;
      if (urgency !== 'urgent' && soon.has(piece)) continue;
      soon.delete(piece);
      if (urgency !== 'rest') rest.delete(piece);
      this.#wanted[urgency].add(piece);
    }
  }

  /** Nobody wants these any more. */
  drop(pieces: readonly number[]): void {
    for (const piece of pieces) {
      for (const wanted of Object.values(this.#wanted)) wanted.delete(piece);
      this.#hedged.delete(piece);
    }
  }

  /** Urgent pieces that nobody has been asked for. */
  get unaskedUrgent(): number[] {
    return [...this.#wanted.urgent].filter((piece) => !this.isAsked(piece));
  }

  /** Whether somebody has been asked for it. */
  isAsked(piece: number): boolean {
    return this.#requests.has(piece);
  }

  isUrgent(piece: number): boolean {
    return this.#wanted.urgent.has(piece);
  }

  /** Whether a parent is known to have it. */
  hasOf(parent: PeerId, piece: number): boolean {
    return this.#parents.get(parent)?.[piece] === 1;
  }

  /** Missing pieces that nobody wants and somebody has, the rarest first. */
  rest(): number[] {
    const left = [...this.#order].filter(
      (piece) => !this.has(piece) && !this.isAsked(piece) && !this.#isWanted(piece),
    );
    const copies = (piece: number) => this.#copies[piece] ?? 0;
    return left.filter((piece) => copies(piece) > 0).sort((one, other) => copies(one) - copies(other));
  }

  /** The first missing piece from `from` on that nobody has been asked for, which counts as asked of `parent` from now on. */
  claim(parent: PeerId, from = 0): number | undefined {
    for (let piece = from; piece < this.pieceCount; piece += 1) {
      if (this.#have[piece] === 1 || this.#requests.has(piece)) continue;
      this.#requests.set(piece, new Set([parent]));
      return piece;
    }
    return undefined;
  }

  /** Counts as asked of the parent, too, whoever else was. */
  ask(parent: PeerId, piece: number): void {
    this.#requests.set(piece, (this.#requests.get(piece) ?? new Set()).add(parent));
  }

  /** Asks the parent for this very piece, too, if it could be {@link pick}ed. */
  take(parent: PeerId, piece: number, isPatient = true): boolean {
    const isFree = piece < this.pieceCount && this.#have[piece] === 0 && !this.#requests.has(piece);
    if (!isFree || (this.#isSelective && !this.#isWanted(piece)) || this.#parents.get(parent)?.[piece] !== 1)
      return false;
    if (isPatient && !this.#isOurs(this.#shareOf(parent), piece)) return false;
    this.#requests.set(piece, new Set([parent]));
    return true;
  }

  /** A request takes too long: another parent may be asked as well. */
  hedge(piece: number): void {
    if (this.#requests.has(piece)) this.#hedged.add(piece);
  }

  /**
   * The next piece to ask this parent for, which counts as asked from now on; `undefined` where it has nothing of use.
   * @param isPatient whether the pieces that others are to bring are left to them
   */
  pick(parent: PeerId, isPatient = true): number | undefined {
    const known = this.#parents.get(parent);
    if (known === undefined) return undefined;
    const share = isPatient ? this.#shareOf(parent) : null;
    const isOurs = (piece: number) => this.#isOurs(share, piece);
    const fresh = (piece: number) =>
      known[piece] === 1 && this.#have[piece] === 0 && !this.#requests.has(piece) && isOurs(piece);
    const piece =
      this.#first(this.#wanted.urgent, fresh) ??
      this.#first(this.#wanted.soon, fresh) ??
      this.#first(this.#wanted.rest, fresh) ??
      (this.#isSelective ? undefined : this.#rarest(fresh)) ??
      this.#again(parent, known, isOurs);
    if (piece === undefined) return undefined;
    this.ask(parent, piece);
    return piece;
  }

  /** A request came to nothing: the piece may be asked for again. */
  failed(piece: number, parent: PeerId): void {
    const parents = this.#requests.get(piece);
    if (parents?.delete(parent) && parents.size === 0) this.#requests.delete(piece);
  }

  /** The piece is here. @returns the parents that were asked for it, too */
  arrived(piece: number): PeerId[] {
    const asked = [...(this.#requests.get(piece) ?? [])];
    this.#requests.delete(piece);
    this.drop([piece]);
    if (piece < this.pieceCount && this.#have[piece] === 0) {
      this.#have[piece] = 1;
      this.#missing -= 1;
    }
    return asked;
  }

  /** Whether others are nearer than this parent: it is asked for a share alone. */
  isFar(parent: PeerId): boolean {
    return this.#shareOf(parent) !== null;
  }

  #inOrder(): number[] {
    const { urgent, soon, rest } = this.#wanted;
    return [...urgent, ...soon, ...rest];
  }

  #isWanted(piece: number): boolean {
    const { urgent, soon, rest } = this.#wanted;
    return urgent.has(piece) || soon.has(piece) || rest.has(piece);
  }

  #isOurs(share: Uint8Array | null, piece: number): boolean {
    return share === null || share[piece] === 1 || this.isUrgent(piece);
  }

  /** What this host is to bring from as far away as this parent is. */
  #shareOf(parent: PeerId): Uint8Array | null {
    const distance = this.#distances.get(parent) ?? 0;
    const known = this.#shares.get(distance);
    if (known !== undefined) return known;
    const share = this.#drawShare(distance);
    this.#shares.set(distance, share);
    return share;
  }

  #drawShare(distance: number): Uint8Array | null {
    const nearer = [...this.#distances]
      .filter(([, other]) => other < distance)
      .map(([peer]) => numberOf(peer));
    if (nearer.length === 0) return null;
    return Uint8Array.from({ length: this.pieceCount }, (_, piece) => {
      const lot = chanceOf(this.#self, piece);
      return nearer.every((other) => chanceOf(other, piece) <= lot) ? 1 : 0;
    });
  }

  #first(pieces: Iterable<number>, fits: (piece: number) => boolean): number | undefined {
    for (const piece of pieces) if (fits(piece)) return piece;
    return undefined;
  }

  #rarest(fits: (piece: number) => boolean): number | undefined {
    let best: number | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const piece of this.#order) {
      const copies = this.#copies[piece] ?? 0;
      if (copies >= fewest || !fits(piece)) continue;
      best = piece;
      fewest = copies;
    }
    return best;
  }

  /** A piece that was asked of another parent: one that is late, or any once every missing piece has been asked for. */
  #again(parent: PeerId, known: Uint8Array, isOurs: (piece: number) => boolean): number | undefined {
    const fits = (piece: number) => {
      const parents = this.#requests.get(piece);
      return (
        known[piece] === 1 &&
        parents !== undefined &&
        parents.size < ENDGAME_REQUESTS &&
        !parents.has(parent) &&
        this.#have[piece] === 0 &&
        isOurs(piece)
      );
    };
    const isEnd = !this.#isSelective && this.#requests.size >= this.#missing;
    return this.#first(this.#hedged, fits) ?? (isEnd ? this.#first(this.#requests.keys(), fits) : undefined);
  }
}

/** 0…count−1 in an order that follows from the seed. Source: Fisher–Yates, with a linear congruential generator. */
function shuffled(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  let state = (seed ^ 0x9e3779b9) >>> 0;
  for (let index = count - 1; index > 0; index -= 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (index + 1));
    [order[index], order[other]] = [order[other] ?? 0, order[index] ?? 0];
  }
  return order;
}
