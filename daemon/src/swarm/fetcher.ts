import { createHash, type Hash } from 'node:crypto';
import {
  type BlobName,
  type Cut,
  DrakkarError,
  type ErrorCode,
  type HostPort,
  lengthOf,
  MAX_PIECE_BYTES,
  type PeerId,
  toDrakkarError,
} from '@drakkar/protocol';
import { inTraceOf, type Span } from '@drakkar/service';
import type { BufferPool } from './buffers.ts';
import type { DataClient } from './data-client.ts';
import type { KnownPiece } from './have-session.ts';
import type { PiecePicker } from './picker.ts';
import { type MemoryBudget, Throughput } from './rate.ts';

/** A blob, and how it is cut. */
export interface BlobShape {
  readonly name: BlobName;
  readonly cut: Cut;
}

export interface FetcherModules {
  readonly client: DataClient;
  readonly budget: MemoryBudget;
  authorization(): string;
  /** For which pieces are wanted at the moment. */
  span(): Span | undefined;
  /** Of buffers that hold any piece. */
  readonly pool: BufferPool;
  /** Takes a piece whose bytes match what the peer said of it. They are somebody else's when this returns. */
  deliver(piece: number, bytes: Buffer, sha256: Buffer, peer: PeerId): Promise<void>;
  /** Returns when so many bytes may be asked for. */
  pass(bytes: number, signal: AbortSignal): Promise<void>;
  /** A peer is of no use any more; `wrongPiece` is one of which it sent other bytes than it had said. */
  lost(peer: PeerId, wrongPiece?: number): void;
  /** A parent was asked for pieces and has not given them in time or at all. */
  stalled(): void;
  /** Bytes came that are of no use. */
  discarded(bytes: number): void;
  /** What was asked for could not be written. */
  failed(error: unknown): void;
}

interface Parent {
  readonly peer: PeerId;
  readonly address: HostPort;
  /** What it says that each piece hashes to. */
  readonly claims: Map<number, Uint8Array>;
  readonly throughput: Throughput;
  /** All that it has sent. */
  takenBytes: number;
  requests: number;
  failures: number;
  /** Answers in a row that it is busy. */
  refusals: number;
  isChoking: boolean;
  /** When it last began to choke. */
  chokingSinceMs: number;
  restsUntilMs: number;
}

interface Request {
  readonly parent: Parent;
  readonly pieces: number[];
  readonly abort: AbortController;
  /** All of it has come; some may not be written yet. */
  isReceived: boolean;
}

/** A piece of which bytes are coming. */
interface Arriving {
  readonly piece: number;
  readonly buffer: Buffer;
  readonly length: number;
  readonly hash: Hash;
  filled: number;
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
const UNKNOWN_MS_PER_MIB = 1_000;
const HEDGE_AFTER = 2;
const LEAVE_AFTER = 8;
/** Whoever gives this much is not left, however fast it was before. */
const SLOWEST_BYTES_PER_MS = 2 ** 20 / (UNKNOWN_MS_PER_MIB * LEAVE_AFTER);
const MIN_HEDGE_MS = 300;
const MIN_LEAVE_MS = 1_500;
const MAX_FAILURES = 4;
const MAX_REFUSALS = 40;
/** Who fails like this once is of no use. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['unauthorized', 'not_found', 'timeout']);
const BUSY_REST_MS = 150;
const FAILURE_REST_MS = 400;
const RETRY_MS = 50;
/** Who is asked by too many at once has time for more by then. */
const CHOKE_PATIENCE_MS = 5_000;
/** Who could ask for nothing for so long asks for what peers that are nearer were to bring. */
const PATIENCE_MS = 3_000;

/** Gets the missing pieces of one blob from its parents: whom to ask for what, how much at a time, and for how long to wait. */
export class PieceFetcher {
  readonly #blob: BlobShape;
  readonly #picker: PiecePicker;
  readonly #modules: FetcherModules;
  readonly #parents = new Map<PeerId, Parent>();
  readonly #requests = new Set<Request>();
  #retry: NodeJS.Timeout | undefined;
  /** Since when parents have what is missing here, and nobody is asked for anything. */
  #idleSinceMs: number | undefined;
  #isEnded = false;

  constructor(blob: BlobShape, picker: PiecePicker, modules: FetcherModules) {
    this.#blob = blob;
    this.#picker = picker;
    this.#modules = modules;
  }

  /** Whether anything comes or may come from a parent. */
  get isHopeful(): boolean {
    if (this.#requests.size > 0) return true;
    for (const { peer, isChoking } of this.#parents.values()) {
      if (!isChoking && this.#picker.usefulPieces(peer) > 0) return true;
    }
    return false;
  }

  addParent(peer: PeerId, address: HostPort): void {
    if (this.#parents.has(peer)) return;
    this.#parents.set(peer, {
      peer,
      address,
      claims: new Map(),
      throughput: new Throughput(),
      takenBytes: 0,
      requests: 0,
      failures: 0,
      refusals: 0,
      isChoking: false,
      chokingSinceMs: 0,
      restsUntilMs: 0,
    });
  }

  parentHas(peer: PeerId, pieces: readonly KnownPiece[]): void {
    const parent = this.#parents.get(peer);
    if (parent === undefined) return;
    for (const { piece, sha256 } of pieces) {
      const trusted = this.#blob.cut.sha256(piece);
      if (trusted !== undefined && Buffer.compare(trusted, sha256) !== 0) {
        this.#modules.lost(peer, piece);
        return;
      }
      // What is trusted need not be remembered for each parent.
      if (trusted === undefined) parent.claims.set(piece, sha256);
    }
    this.#picker.parentHas(
      peer,
      pieces.map(({ piece }) => piece),
    );
    this.schedule();
  }

  choked(peer: PeerId, isChoking: boolean): void {
    const parent = this.#parents.get(peer);
    if (parent === undefined) return;
    if (isChoking && !parent.isChoking) parent.chokingSinceMs = performance.now();
    parent.isChoking = isChoking;
    if (!isChoking) this.schedule();
  }

  removeParent(peer: PeerId): void {
    if (!this.#parents.delete(peer)) return;
    this.#picker.parentGone(peer);
    for (const { parent, abort } of this.#requests) {
      if (parent.peer === peer) abort.abort(new DrakkarError('cancelled', 'the peer has gone'));
    }
    this.schedule();
  }

  /** A piece is here, whoever brought it: others need not send it any more. */
  arrived(piece: number): void {
    for (const peer of this.#picker.arrived(piece)) {
      for (const { parent, pieces, abort, isReceived } of this.#requests) {
        if (!isReceived && parent.peer === peer && pieces.every((each) => this.#picker.has(each))) {
          abort.abort(new DrakkarError('cancelled', 'the piece came from elsewhere'));
        }
      }
    }
  }

  end(): void {
    this.#isEnded = true;
    clearTimeout(this.#retry);
    for (const { abort } of this.#requests)
      abort.abort(new DrakkarError('cancelled', 'nothing is wanted any more'));
  }

  /** Whether a parent is known to have it, and gives something or has only just begun to choke. */
  mayGive(piece: number): boolean {
    const soonMs = performance.now() - CHOKE_PATIENCE_MS;
    return this.#parents
      .values()
      .some(
        ({ peer, isChoking, chokingSinceMs }) =>
          (!isChoking || chokingSinceMs > soonMs) && this.#picker.hasOf(peer, piece),
      );
  }

  /** Asks whom it may for what it can. */
  schedule(): void {
    if (this.#isEnded || this.#picker.missing === 0) return;
    const nowMs = performance.now();
    this.#askUrgent(nowMs);
    const isPatient = this.#idleSinceMs === undefined || nowMs - this.#idleSinceMs < PATIENCE_MS;
    const isWaiting = this.#askInTurn(nowMs, isPatient);
    if (isPatient) this.#idleSinceMs = this.#isIdle ? (this.#idleSinceMs ?? nowMs) : undefined;
    if (isWaiting || this.#idleSinceMs !== undefined) this.#scheduleLater();
  }

  /** @returns whether more could be asked for after a while */
  #askInTurn(nowMs: number, isPatient: boolean): boolean {
    let isWaiting = false;
    for (let asked = true; asked; ) {
      asked = false;
      // One request each in turn, so that parents share the work.
      for (const parent of this.#parents.values()) {
        if (this.#requests.size >= REQUESTS) return false;
        if (parent.isChoking || parent.requests >= this.#requestsOf(parent)) continue;
        if (parent.restsUntilMs > nowMs) {
          isWaiting = true;
          continue;
        }
        const pieces = this.#pick(parent, isPatient);
        if (pieces.length === 0) continue;
        if (!this.#modules.budget.take(this.#bytesOf(pieces), this.#requests.size === 0)) {
          for (const piece of pieces) this.#picker.failed(piece, parent.peer);
          return true;
        }
        this.#ask(parent, pieces);
        asked = true;
      }
    }
    return isWaiting;
  }

  /** What a reader waits for, at once, of the parent that is likely to have it here first. */
  #askUrgent(nowMs: number): void {
    for (const piece of this.#picker.unaskedUrgent) {
      if (this.#requests.size >= REQUESTS + URGENT_REQUESTS) return;
      const parent = this.#quickestFor(piece, nowMs);
      if (parent === undefined || !this.#picker.take(parent.peer, piece)) continue;
      const isToo = (next: number) => this.#picker.isUrgent(next) && this.#picker.take(parent.peer, next);
      const pieces = this.#extended(piece, PIECES_OF_ONE_REQUEST, isToo);
      this.#modules.budget.take(this.#bytesOf(pieces), true);
      this.#ask(parent, pieces);
    }
  }

  #quickestFor(piece: number, nowMs: number): Parent | undefined {
    const waitMs = ({ requests, throughput }: Parent) =>
      (requests + 1) * (throughput.expectMs(this.#blob.cut.longestPieceBytes) ?? UNKNOWN_MS_PER_MIB);
    return [...this.#parents.values()]
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
    if (this.#requests.size > 0) return false;
    return this.#parents.keys().some((peer) => this.#picker.usefulPieces(peer) > 0);
  }

  #requestsOf({ throughput }: Parent): number {
    const pieceMs = throughput.expectMs(this.#blob.cut.longestPieceBytes);
    if (pieceMs === undefined || pieceMs > SLOW_MS) return REQUESTS_OF_SLOW_PARENT;
    return pieceMs < REQUEST_MS ? REQUESTS_OF_FAST_PARENT : REQUESTS_OF_PARENT;
  }

  #scheduleLater(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.schedule();
    }, RETRY_MS);
  }

  #pick(parent: Parent, isPatient: boolean): number[] {
    const first = this.#picker.pick(parent.peer, isPatient);
    if (first === undefined) return [];
    const pieceMs = parent.throughput.expectMs(this.#blob.cut.longestPieceBytes) ?? REQUEST_MS;
    const wanted = Math.min(PIECES_OF_ONE_REQUEST, Math.floor(REQUEST_MS / pieceMs));
    return this.#extended(first, wanted, (next) => this.#picker.take(parent.peer, next, isPatient));
  }

  /** A piece and those behind it, as far as one answer holds them. */
  #extended(first: number, wanted: number, isToo: (next: number) => boolean): number[] {
    const { cut } = this.#blob;
    const pieces = [first];
    for (let next = first + 1; pieces.length < wanted; next += 1) {
      if (cut.end(next) - cut.start(first) > MAX_PIECE_BYTES || !isToo(next)) break;
      pieces.push(next);
    }
    return pieces;
  }

  #bytesOf(pieces: readonly number[]): number {
    return pieces.reduce((sum, piece) => sum + lengthOf(this.#blob.cut, piece), 0);
  }

  #ask(parent: Parent, pieces: number[]): void {
    // Whatever has led here: a piece that came for another download, say.
    void inTraceOf(this.#modules.span(), () => this.#request(parent, pieces));
  }

  async #request(parent: Parent, pieces: number[]): Promise<void> {
    const request = { parent, pieces, abort: new AbortController(), isReceived: false };
    const bytes = this.#bytesOf(pieces);
    this.#requests.add(request);
    parent.requests += 1;
    try {
      // Our own limit is no slowness of the parent's.
      await this.#modules.pass(bytes, request.abort.signal);
      await this.#receiveInTime(request, bytes);
      parent.failures = 0;
      parent.refusals = 0;
    } catch (cause) {
      this.#judge(parent, toDrakkarError(request.abort.signal.aborted ? request.abort.signal.reason : cause));
    } finally {
      this.#modules.budget.give(bytes);
      this.#requests.delete(request);
      parent.requests -= 1;
      for (const piece of pieces) this.#picker.failed(piece, parent.peer);
      this.schedule();
    }
  }

  async #receiveInTime(request: Request, bytes: number): Promise<void> {
    const { parent, pieces, abort } = request;
    const expectedMs = parent.throughput.expectMs(bytes) ?? (bytes / 2 ** 20) * UNKNOWN_MS_PER_MIB;
    const hedge = setTimeout(
      () => {
        for (const piece of pieces) this.#picker.hedge(piece);
        this.schedule();
      },
      Math.max(MIN_HEDGE_MS, HEDGE_AFTER * expectedMs),
    );
    const patienceMs = Math.max(MIN_LEAVE_MS, LEAVE_AFTER * expectedMs);
    let before = parent.takenBytes;
    const leave = setInterval(() => {
      // Slower than it was at first, as who has a rate to keep is: others are asked meanwhile, and it goes on.
      const isGiving = parent.takenBytes - before >= patienceMs * SLOWEST_BYTES_PER_MS;
      before = parent.takenBytes;
      if (!isGiving) abort.abort(new DrakkarError('timeout', `${parent.peer} is too slow`));
    }, patienceMs);
    try {
      await this.#receive(request, bytes);
    } finally {
      clearTimeout(hedge);
      clearInterval(leave);
    }
  }

  async #receive(request: Request, bytes: number): Promise<void> {
    const { parent, pieces, abort } = request;
    const [first = 0] = pieces;
    const taking: Promise<void>[] = [];
    let current = this.#begin(first);
    const startedMs = performance.now();
    const fetching = this.#modules.client.fetch({
      peer: parent.peer,
      address: parent.address,
      blob: this.#blob.name,
      first,
      last: first + pieces.length - 1,
      bytes,
      authorization: this.#modules.authorization(),
      signal: abort.signal,
      take: (part) => {
        parent.takenBytes += part.length;
        for (let rest = part; rest.length > 0; ) {
          const count = Math.min(rest.length, current.length - current.filled);
          rest.copy(current.buffer, current.filled, 0, count);
          current.hash.update(rest.subarray(0, count));
          current.filled += count;
          rest = rest.subarray(count);
          if (current.filled < current.length) continue;
          const taken = this.#take(parent, current);
          // What it throws is looked at when everything has come.
          taken.catch(() => {});
          taking.push(taken);
          if (taking.length < pieces.length) current = this.#begin(current.piece + 1);
        }
      },
    });
    try {
      await fetching;
      request.isReceived = true;
      parent.throughput.add(bytes, performance.now() - startedMs);
    } finally {
      if (current.filled < current.length) this.#modules.discarded(current.filled);
      await Promise.allSettled(taking);
    }
    await Promise.all(taking);
  }

  #begin(piece: number): Arriving {
    return {
      piece,
      buffer: this.#modules.pool.take(),
      length: lengthOf(this.#blob.cut, piece),
      hash: createHash('sha256'),
      filled: 0,
    };
  }

  async #take(parent: Parent, { piece, buffer, length, hash }: Arriving): Promise<void> {
    const { pool, deliver, discarded, failed } = this.#modules;
    const sha256 = hash.digest();
    const claimed = this.#blob.cut.sha256(piece) ?? parent.claims.get(piece);
    if (claimed === undefined || !sha256.equals(claimed)) {
      discarded(length);
      throw new WrongPiece(parent.peer, piece);
    }
    if (this.#isEnded || this.#picker.has(piece)) {
      discarded(length);
    } else {
      try {
        await deliver(piece, buffer.subarray(0, length), sha256, parent.peer);
        // Those that are near do bring something.
        if (!this.#picker.isFar(parent.peer)) this.#idleSinceMs = undefined;
      } catch (error) {
        failed(error);
        throw error;
      }
    }
    pool.give(buffer);
  }

  #judge(parent: Parent, error: DrakkarError): void {
    if (this.#isEnded || error.code === 'cancelled' || !this.#parents.has(parent.peer)) return;
    const nowMs = performance.now();
    if (error instanceof WrongPiece) {
      this.#modules.lost(parent.peer, error.piece);
    } else if (error.code === 'busy') {
      parent.refusals += 1;
      parent.restsUntilMs = nowMs + BUSY_REST_MS * (1 + Math.random());
      if (parent.refusals >= MAX_REFUSALS) this.#modules.lost(parent.peer);
    } else {
      this.#modules.stalled();
      parent.failures += 1;
      parent.restsUntilMs = nowMs + FAILURE_REST_MS * 2 ** parent.failures;
      if (FINAL.has(error.code) || parent.failures >= MAX_FAILURES) this.#modules.lost(parent.peer);
    }
  }
}

/** A peer sent other bytes than it had itself said. */
class WrongPiece extends DrakkarError {
  readonly piece: number;

  constructor(peer: PeerId, piece: number) {
    super('invalid_content', `${peer} sent bytes that are not piece ${piece}`);
    this.piece = piece;
  }
}
