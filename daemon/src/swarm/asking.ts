import { type Cut, lengthOf, MAX_PIECE_BYTES, type PeerId } from '@drakkar/protocol';
import type { PiecePicker } from './picker.ts';
import { Throughput } from './rate.ts';

/** What is known of a peer that may be asked for pieces. */
export class AskedParent {
  readonly peer: PeerId;
  readonly throughput = new Throughput();
  /** That have not been answered. */
  requests = 0;
  /** Requests in a row that came to nothing. */
  failures = 0;
  /** Answers in a row that it is busy. */
  refusals = 0;
  isChoking = false;
  /** When it last began to choke. */
  chokingSinceMs = 0;
  restsUntilMs = 0;

  constructor(peer: PeerId) {
    this.peer = peer;
  }

  choked(isChoking: boolean, nowMs: number): void {
    if (isChoking && !this.isChoking) this.chokingSinceMs = nowMs;
    this.isChoking = isChoking;
  }

  answered(): void {
    this.failures = 0;
    this.refusals = 0;
  }

  /** It is busy. @param chance from 0 to 1 @returns whether it is given up */
  refused(nowMs: number, chance: number): boolean {
    this.refusals += 1;
    this.restsUntilMs = nowMs + BUSY_REST_MS * (1 + chance);
    return this.refusals >= MAX_REFUSALS;
  }

  /** A request came to nothing. @returns whether it is given up */
  failed(nowMs: number): boolean {
    this.failures += 1;
    this.restsUntilMs = nowMs + FAILURE_REST_MS * 2 ** this.failures;
    return this.failures >= MAX_FAILURES;
  }
}

const REQUESTS = 16;
/**
 * Of one parent at a time: the next request is on its way when the first is answered. Of a slow one, whose link others share, and of one
 * that nothing is known of, no more than one: what it was asked for could come from elsewhere sooner.
 */
const REQUESTS_OF_FAST_PARENT = 4;
const REQUESTS_OF_PARENT = 2;
const REQUESTS_OF_SLOW_PARENT = 1;
/** A parent is slow that takes this long for a piece: the way there and back is short against it. */
const SLOW_MS = 250;
/** A request shall take about this long, so that asking costs little and slots change hands. */
const REQUEST_MS = 40;
const PIECES_OF_ONE_REQUEST = 4;
/** Beyond its limit a parent is asked for what a reader waits for: so much is not behind what nobody waits for. */
const URGENT_REQUESTS_OF_PARENT = 2;
/** The same for all parents together. */
const URGENT_REQUESTS = 8;
/** What is thought of a parent of which nothing is known: 8 Mbit/s. */
export const UNKNOWN_MS_PER_MIB = 1_000;
const HEDGE_AFTER = 2;
const MIN_HEDGE_MS = 300;
const MAX_FAILURES = 4;
const MAX_REFUSALS = 40;
const BUSY_REST_MS = 150;
const FAILURE_REST_MS = 400;
/** Who could ask for nothing for so long asks for what peers that are nearer were to bring. */
const PATIENCE_MS = 3_000;

/** Asks a parent for pieces, no more than one answer holds. @returns false where there is no room for what can wait */
type Ask<Parent> = (parent: Parent, pieces: number[], canWait: boolean) => boolean;

/**
 * Whom to ask for what at the moment, and how much at a time. Pure state.
 *
 * Whoever asks counts: {@link began} where it does, {@link ended} when there is an answer or none will come.
 */
export class Asking<Parent extends AskedParent> {
  readonly parents = new Map<PeerId, Parent>();
  readonly #cut: Cut;
  readonly #picker: PiecePicker;
  #requests = 0;
  /** Since when parents have what is missing here, and nobody is asked for anything. */
  #idleSinceMs: number | undefined;

  constructor(cut: Cut, picker: PiecePicker) {
    this.#cut = cut;
    this.#picker = picker;
  }

  /** That have not been answered. */
  get requests(): number {
    return this.#requests;
  }

  began(parent: Parent): void {
    this.#requests += 1;
    parent.requests += 1;
  }

  ended(parent: Parent, pieces: readonly number[]): void {
    this.#requests -= 1;
    parent.requests -= 1;
    for (const piece of pieces) this.#picker.failed(piece, parent.peer);
  }

  /** A parent has brought something. */
  gained(parent: Parent): void {
    // Those that are near do bring something.
    if (!this.#picker.isFar(parent.peer)) this.#idleSinceMs = undefined;
  }

  /** When others are asked, too, for pieces that have not come from a parent by then. */
  hedgeAfterMs(parent: Parent, bytes: number): number {
    return Math.max(MIN_HEDGE_MS, HEDGE_AFTER * this.expectMs(parent, bytes));
  }

  expectMs({ throughput }: Parent, bytes: number): number {
    return throughput.expectMs(bytes) ?? (bytes / 2 ** 20) * UNKNOWN_MS_PER_MIB;
  }

  bytesOf(pieces: readonly number[]): number {
    return pieces.reduce((sum, piece) => sum + lengthOf(this.#cut, piece), 0);
  }

  /** Asks whom it may for what it can. @returns whether more could be asked for after a while */
  schedule(nowMs: number, ask: Ask<Parent>): boolean {
    if (this.#picker.missing === 0) return false;
    this.#askUrgent(nowMs, ask);
    const isPatient = this.#idleSinceMs === undefined || nowMs - this.#idleSinceMs < PATIENCE_MS;
    const isWaiting = this.#askInTurn(nowMs, isPatient, ask);
    if (isPatient) this.#idleSinceMs = this.#isIdle ? (this.#idleSinceMs ?? nowMs) : undefined;
    return isWaiting || this.#idleSinceMs !== undefined;
  }

  #askInTurn(nowMs: number, isPatient: boolean, ask: Ask<Parent>): boolean {
    let isWaiting = false;
    for (let asked = true; asked; ) {
      asked = false;
      // One request each in turn, so that parents share the work.
      for (const parent of this.parents.values()) {
        if (this.#requests >= REQUESTS) return false;
        if (parent.isChoking || parent.requests >= this.#requestsOf(parent)) continue;
        if (parent.restsUntilMs > nowMs) {
          isWaiting = true;
          continue;
        }
        const pieces = this.#pick(parent, isPatient);
        if (pieces === undefined) continue;
        if (!ask(parent, pieces, true)) {
          for (const piece of pieces) this.#picker.failed(piece, parent.peer);
          return true;
        }
        asked = true;
      }
    }
    return isWaiting;
  }

  /** What a reader waits for, at once, of the parent that is likely to have it here first. */
  #askUrgent(nowMs: number, ask: Ask<Parent>): void {
    for (const piece of this.#picker.unaskedUrgent) {
      if (this.#requests >= REQUESTS + URGENT_REQUESTS) return;
      const parent = this.#quickestFor(piece, nowMs);
      if (parent === undefined || !this.#picker.take(parent.peer, piece)) continue;
      const isToo = (next: number) => this.#picker.isUrgent(next) && this.#picker.take(parent.peer, next);
      ask(parent, this.#extended(piece, PIECES_OF_ONE_REQUEST, isToo), false);
    }
  }

  #quickestFor(piece: number, nowMs: number): Parent | undefined {
    const waitMs = ({ requests, throughput }: Parent) =>
      (requests + 1) * (throughput.expectMs(this.#cut.longestPieceBytes) ?? UNKNOWN_MS_PER_MIB);
    return [...this.parents.values()]
      .filter((parent) => {
        const { peer, isChoking, restsUntilMs, requests } = parent;
        const hasRoom = requests < this.#requestsOf(parent) + URGENT_REQUESTS_OF_PARENT;
        return !isChoking && hasRoom && restsUntilMs <= nowMs && this.#picker.hasOf(peer, piece);
      })
      .reduce<Parent | undefined>(
        (best, parent) => (best === undefined || waitMs(parent) < waitMs(best) ? parent : best),
        undefined,
      );
  }

  get #isIdle(): boolean {
    if (this.#requests > 0) return false;
    return this.parents.keys().some((peer) => this.#picker.usefulPieces(peer) > 0);
  }

  #requestsOf({ throughput }: Parent): number {
    const pieceMs = throughput.expectMs(this.#cut.longestPieceBytes);
    if (pieceMs === undefined || pieceMs > SLOW_MS) return REQUESTS_OF_SLOW_PARENT;
    return pieceMs < REQUEST_MS ? REQUESTS_OF_FAST_PARENT : REQUESTS_OF_PARENT;
  }

  #pick(parent: Parent, isPatient: boolean): number[] | undefined {
    const first = this.#picker.pick(parent.peer, isPatient);
    if (first === undefined) return undefined;
    const pieceMs = parent.throughput.expectMs(this.#cut.longestPieceBytes) ?? REQUEST_MS;
    const wanted = Math.min(PIECES_OF_ONE_REQUEST, Math.floor(REQUEST_MS / pieceMs));
    return this.#extended(first, wanted, (next) => this.#picker.take(parent.peer, next, isPatient));
  }

  /** A piece and those behind it, as far as one answer holds them. */
  #extended(first: number, wanted: number, isToo: (next: number) => boolean): number[] {
    const pieces = [first];
    for (let next = first + 1; pieces.length < wanted; next += 1) {
      if (this.#cut.end(next) - this.#cut.start(first) > MAX_PIECE_BYTES || !isToo(next)) break;
      pieces.push(next);
    }
    return pieces;
  }
}
