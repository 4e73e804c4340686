import { chanceOf, numberOf, type PeerId } from '@drakkar/protocol';
import { byUrgency, type Urgency } from '../urgency.ts';
import { lowestBit, PieceSet } from './piece-set.ts';

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
  readonly #have: PieceSet;
  readonly #parents = new Map<PeerId, ParentPieces>();
  /** How many parents have each piece. */
  readonly #copies: Uint16Array;
  /** Who has been asked for each piece; {@link #asked} has the same pieces. */
  readonly #requests = new Map<number, PeerId[]>();
  readonly #asked: PieceSet;
  /** The place of each piece in this host's own order. */
  readonly #rank: Uint32Array;
  /** Missing pieces that somebody wants, each once and in the order of asking. */
  readonly #wanted = byUrgency(() => new Set<number>());
  readonly #hedged = new Set<number>();
  readonly #self: number;
  /** How far away each peer is that takes part. */
  readonly #distances = new Map<PeerId, number>();
  /** By distance: which pieces are this host's to bring from there; `null` for all, where nobody is nearer. */
  readonly #shares = new Map<number, PieceSet | null>();
  readonly #isSelective: boolean;
  #missing: number;
  /** Changes whenever there may be something to ask a parent for that there was not. */
  #turn = 0;

  /**
   * @param self who this is: others come to the same shares, and ask for pieces in another order
   * @param isSelective nothing is fetched but what is wanted
   */
  constructor(pieceCount: number, have: Iterable<number>, self: PeerId, isSelective = false) {
    this.#isSelective = isSelective;
    this.#self = numberOf(self);
    this.pieceCount = pieceCount;
    this.#have = new PieceSet(pieceCount);
    this.#asked = new PieceSet(pieceCount);
    this.#copies = new Uint16Array(pieceCount);
    this.#rank = shuffled(pieceCount, this.#self);
    this.#missing = pieceCount;
    for (const piece of have) this.arrived(piece);
  }

  get missing(): number {
    return this.#missing;
  }

  has(piece: number): boolean {
    return this.#have.has(piece);
  }

  /** A peer takes part, and is so far away. */
  enter(peer: PeerId, distance: number): void {
    this.#distances.set(peer, distance);
    this.#shares.clear();
    this.#turn += 1;
  }

  leave(peer: PeerId): void {
    this.#distances.delete(peer);
    this.#shares.clear();
    this.#turn += 1;
  }

  /** A parent has these pieces, too. Pieces that there are not are left out. */
  parentHas(parent: PeerId, pieces: Iterable<number>): void {
    const known = this.#parents.get(parent) ?? { pieces: new PieceSet(this.pieceCount), emptyAtTurn: -1 };
    this.#parents.set(parent, known);
    for (const piece of pieces) {
      if (!known.pieces.add(piece)) continue;
      this.#copies[piece] = (this.#copies[piece] ?? 0) + 1;
      known.emptyAtTurn = -1;
    }
  }

  parentGone(parent: PeerId): void {
    const known = this.#parents.get(parent);
    if (known === undefined) return;
    this.#parents.delete(parent);
    for (const piece of known.pieces) this.#copies[piece] = (this.#copies[piece] ?? 1) - 1;
    for (const piece of this.#requests.keys()) this.failed(piece, parent);
  }

  /** How many pieces of a parent are missing here, and to be fetched. */
  usefulPieces(parent: PeerId): number {
    const known = this.#parents.get(parent)?.pieces;
    if (known === undefined) return 0;
    if (this.#isSelective) return this.#inOrder().filter((piece) => known.has(piece)).length;
    return known.countWithout(this.#have);
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
    this.#turn += 1;
  }

  /** Nobody wants these any more. */
  drop(pieces: readonly number[]): void {
    for (const piece of pieces) this.#forget(piece);
  }

  /** Urgent pieces that nobody has been asked for. */
  get unaskedUrgent(): number[] {
    return [...this.#wanted.urgent].filter((piece) => !this.isAsked(piece));
  }

  /** Whether somebody has been asked for it. */
  isAsked(piece: number): boolean {
    return this.#asked.has(piece);
  }

  isUrgent(piece: number): boolean {
    return this.#wanted.urgent.has(piece);
  }

  /** Whether a parent is known to have it. */
  hasOf(parent: PeerId, piece: number): boolean {
    return this.#parents.get(parent)?.pieces.has(piece) === true;
  }

  /** Missing pieces that nobody wants and somebody has, the rarest first. */
  rest(): number[] {
    const copies = (piece: number) => this.#copies[piece] ?? 0;
    const rank = (piece: number) => this.#rank[piece] ?? 0;
    return Array.from({ length: this.pieceCount }, (_, piece) => piece)
      .filter(
        (piece) => copies(piece) > 0 && !this.has(piece) && !this.isAsked(piece) && !this.#isWanted(piece),
      )
      .sort((one, other) => copies(one) - copies(other) || rank(one) - rank(other));
  }

  /** The first missing piece from `from` on that nobody has been asked for, which counts as asked of `parent` from now on. */
  claim(parent: PeerId, from = 0): number | undefined {
    for (let piece = from; piece < this.pieceCount; piece += 1) {
      if (this.has(piece) || this.isAsked(piece)) continue;
      this.ask(parent, piece);
      return piece;
    }
    return undefined;
  }

  /** Counts as asked of the parent, too, whoever else was. */
  ask(parent: PeerId, piece: number): void {
    const asked = this.#requests.get(piece);
    if (asked === undefined) this.#requests.set(piece, [parent]);
    else if (!asked.includes(parent)) asked.push(parent);
    this.#asked.add(piece);
    if (this.#isEnd) this.#turn += 1;
  }

  /** Asks the parent for this very piece, too, if it could be {@link pick}ed. */
  take(parent: PeerId, piece: number, isPatient = true): boolean {
    const isFree = this.hasOf(parent, piece) && !this.has(piece) && !this.isAsked(piece);
    if (!isFree || (this.#isSelective && !this.#isWanted(piece))) return false;
    if (isPatient && !this.#isOurs(this.#shareOf(parent), piece)) return false;
    this.ask(parent, piece);
    return true;
  }

  /** A request takes too long: another parent may be asked as well. */
  hedge(piece: number): void {
    if (!this.isAsked(piece)) return;
    this.#hedged.add(piece);
    this.#turn += 1;
  }

  /**
   * The next piece to ask this parent for, which counts as asked from now on; `undefined` where it has nothing of use.
   * @param isPatient whether the pieces that others are to bring are left to them
   */
  pick(parent: PeerId, isPatient = true): number | undefined {
    const parentPieces = this.#parents.get(parent);
    if (parentPieces === undefined || (isPatient && parentPieces.emptyAtTurn === this.#turn))
      return undefined;
    const known = parentPieces.pieces;
    const share = isPatient ? this.#shareOf(parent) : null;
    const isFresh = (piece: number) =>
      known.has(piece) && !this.has(piece) && !this.isAsked(piece) && this.#isOurs(share, piece);
    const piece =
      this.#firstWanted(isFresh) ??
      (this.#isSelective ? undefined : this.#rarest(known, share)) ??
      this.#again(parent, known, share);
    if (piece === undefined) {
      // What is asked twice changes with every request.
      if (isPatient && !this.#isEnd) parentPieces.emptyAtTurn = this.#turn;
      return undefined;
    }
    this.ask(parent, piece);
    return piece;
  }

  /** A request came to nothing: the piece may be asked for again. */
  failed(piece: number, parent: PeerId): void {
    const asked = this.#requests.get(piece);
    const at = asked?.indexOf(parent) ?? -1;
    if (asked === undefined || at < 0) return;
    asked.splice(at, 1);
    if (asked.length === 0) this.#answered(piece);
    this.#turn += 1;
  }

  /** The piece is here. @returns the parents that were asked for it, too */
  arrived(piece: number): PeerId[] {
    const asked = this.#requests.get(piece) ?? [];
    this.#answered(piece);
    this.#forget(piece);
    if (piece < this.pieceCount && this.#have.add(piece)) this.#missing -= 1;
    if (this.#isEnd) this.#turn += 1;
    return asked;
  }

  /** Whether others are nearer than this parent: it is asked for a share alone. */
  isFar(parent: PeerId): boolean {
    return this.#shareOf(parent) !== null;
  }

  #forget(piece: number): void {
    const { urgent, soon, rest } = this.#wanted;
    urgent.delete(piece);
    soon.delete(piece);
    rest.delete(piece);
    this.#hedged.delete(piece);
  }

  /** Nobody is asked for it any more. */
  #answered(piece: number): void {
    this.#requests.delete(piece);
    this.#asked.delete(piece);
  }

  #inOrder(): number[] {
    const { urgent, soon, rest } = this.#wanted;
    return [...urgent, ...soon, ...rest];
  }

  #isWanted(piece: number): boolean {
    const { urgent, soon, rest } = this.#wanted;
    return urgent.has(piece) || soon.has(piece) || rest.has(piece);
  }

  #isOurs(share: PieceSet | null, piece: number): boolean {
    return share === null || share.has(piece) || this.isUrgent(piece);
  }

  /** What this host is to bring from as far away as this parent is. */
  #shareOf(parent: PeerId): PieceSet | null {
    const distance = this.#distances.get(parent) ?? 0;
    const known = this.#shares.get(distance);
    if (known !== undefined) return known;
    const share = this.#drawShare(distance);
    this.#shares.set(distance, share);
    return share;
  }

  #drawShare(distance: number): PieceSet | null {
    const nearer = [...this.#distances]
      .filter(([, other]) => other < distance)
      .map(([peer]) => numberOf(peer));
    if (nearer.length === 0) return null;
    const share = new PieceSet(this.pieceCount);
    for (let piece = 0; piece < this.pieceCount; piece += 1) {
      const lot = chanceOf(this.#self, piece);
      if (nearer.every((other) => chanceOf(other, piece) <= lot)) share.add(piece);
    }
    return share;
  }

  #first(pieces: Iterable<number>, fits: (piece: number) => boolean): number | undefined {
    for (const piece of pieces) if (fits(piece)) return piece;
    return undefined;
  }

  #firstWanted(fits: (piece: number) => boolean): number | undefined {
    const { urgent, soon, rest } = this.#wanted;
    return this.#first(urgent, fits) ?? this.#first(soon, fits) ?? this.#first(rest, fits);
  }

  /** Of those that a parent has, are missing, and nobody was asked for. */
  #rarest(known: PieceSet, share: PieceSet | null): number | undefined {
    let best: number | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    let first = Number.POSITIVE_INFINITY;
    const [has, have, asked, ours] = [known.words, this.#have.words, this.#asked.words, share?.words];
    for (let index = 0; index < has.length; index += 1) {
      let left = (has[index] ?? 0) & ~((have[index] ?? 0) | (asked[index] ?? 0));
      if (ours !== undefined) left &= ours[index] ?? 0;
      for (; left !== 0; left &= left - 1) {
        const piece = (index << 5) | lowestBit(left);
        const copies = this.#copies[piece] ?? 0;
        const rank = this.#rank[piece] ?? 0;
        if (copies > fewest || (copies === fewest && rank > first)) continue;
        best = piece;
        fewest = copies;
        first = rank;
      }
    }
    return best;
  }

  /** A piece that was asked of another parent: one that is late, or any once every missing piece has been asked for. */
  #again(parent: PeerId, known: PieceSet, share: PieceSet | null): number | undefined {
    const fits = (piece: number) => {
      const asked = this.#requests.get(piece);
      return (
        known.has(piece) &&
        asked !== undefined &&
        asked.length < ENDGAME_REQUESTS &&
        !asked.includes(parent) &&
        !this.has(piece) &&
        this.#isOurs(share, piece)
      );
    };
    return (
      this.#first(this.#hedged, fits) ?? (this.#isEnd ? this.#first(this.#requests.keys(), fits) : undefined)
    );
  }

  /** Whether every missing piece has been asked for. */
  get #isEnd(): boolean {
    return !this.#isSelective && this.#requests.size >= this.#missing;
  }
}

/** What a parent has, and the turn at which there was nothing to ask it for. */
interface ParentPieces {
  readonly pieces: PieceSet;
  emptyAtTurn: number;
}

/** The place of each of 0…count−1 in an order that follows from the seed. Source: Fisher–Yates, with a linear congruential generator. */
function shuffled(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  let state = (seed ^ 0x9e3779b9) >>> 0;
  for (let index = count - 1; index > 0; index -= 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (index + 1));
    [order[index], order[other]] = [order[other] ?? 0, order[index] ?? 0];
  }
  const places = new Uint32Array(count);
  for (const [place, value] of order.entries()) places[value] = place;
  return places;
}
