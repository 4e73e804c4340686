import { createHash, type Hash } from 'node:crypto';
import {
  type BlobName,
  type Cut,
  DrakkarError,
  type ErrorCode,
  type HostPort,
  lengthOf,
  type PeerId,
  toDrakkarError,
} from '@drakkar/protocol';
import { inTraceOf, type Span } from '@drakkar/service';
import { AskedParent, Asking, UNKNOWN_MS_PER_MIB } from './asking.ts';
import type { BufferPool } from './buffers.ts';
import type { DataClient } from './data-client.ts';
import type { KnownPiece } from './have-session.ts';
import { EXCHANGE_DEFAULTS } from './options.ts';
import type { PiecePicker } from './picker.ts';
import type { MemoryBudget } from './rate.ts';

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

class Parent extends AskedParent {
  readonly address: HostPort;
  /** What it says that each piece hashes to. */
  readonly claims = new Map<number, Uint8Array>();
  /** All that it has sent. */
  takenBytes = 0;

  constructor(peer: PeerId, address: HostPort) {
    super(peer);
    this.address = address;
  }
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

const LEAVE_AFTER = 8;
/** Whoever gives this much is not left, however fast it was before. */
const SLOWEST_BYTES_PER_MS = 2 ** 20 / (UNKNOWN_MS_PER_MIB * LEAVE_AFTER);
const MIN_LEAVE_MS = 1_500;
/** Who fails like this once is of no use. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['unauthorized', 'not_found', 'timeout']);
/** Who is asked by too many at once has time for more by then. */
const CHOKE_PATIENCE_MS = 5_000;

/** Gets the missing pieces of one blob from its parents: {@link Asking} says whom to ask for what, this does, and waits no longer than is of use. */
export class PieceFetcher {
  readonly #blob: BlobShape;
  readonly #picker: PiecePicker;
  readonly #modules: FetcherModules;
  readonly #asking: Asking<Parent>;
  readonly #requests = new Set<Request>();
  #retry: NodeJS.Timeout | undefined;
  #isEnded = false;

  constructor(blob: BlobShape, picker: PiecePicker, modules: FetcherModules) {
    this.#blob = blob;
    this.#picker = picker;
    this.#asking = new Asking(blob.cut, picker);
    this.#modules = modules;
  }

  /** Whether anything comes or may come from a parent. */
  get isHopeful(): boolean {
    if (this.#requests.size > 0) return true;
    for (const { peer, isChoking } of this.#asking.parents.values()) {
      if (!isChoking && this.#picker.usefulPieces(peer) > 0) return true;
    }
    return false;
  }

  addParent(peer: PeerId, address: HostPort): void {
    const { parents } = this.#asking;
    if (!parents.has(peer)) parents.set(peer, new Parent(peer, address));
  }

  parentHas(peer: PeerId, pieces: readonly KnownPiece[]): void {
    const parent = this.#asking.parents.get(peer);
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
    const parent = this.#asking.parents.get(peer);
    if (parent === undefined) return;
    parent.choked(isChoking, performance.now());
    if (!isChoking) this.schedule();
  }

  removeParent(peer: PeerId): void {
    if (!this.#asking.parents.delete(peer)) return;
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
    return this.#asking.parents
      .values()
      .some(
        ({ peer, isChoking, chokingSinceMs }) =>
          (!isChoking || chokingSinceMs > soonMs) && this.#picker.hasOf(peer, piece),
      );
  }

  /** Asks whom it may for what it can. */
  schedule(): void {
    if (this.#isEnded) return;
    const isWaiting = this.#asking.schedule(performance.now(), (parent, pieces, canWait) => {
      const bytes = this.#asking.bytesOf(pieces);
      if (!this.#modules.budget.take(bytes, !canWait || this.#requests.size === 0)) return false;
      this.#ask(parent, pieces, bytes);
      return true;
    });
    if (isWaiting) this.#scheduleLater();
  }

  #scheduleLater(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.schedule();
    }, EXCHANGE_DEFAULTS.retryMs);
  }

  #ask(parent: Parent, pieces: number[], bytes: number): void {
    // Whatever has led here: a piece that came for another download, say.
    void inTraceOf(this.#modules.span(), () => this.#request(parent, pieces, bytes));
  }

  async #request(parent: Parent, pieces: number[], bytes: number): Promise<void> {
    const request = { parent, pieces, abort: new AbortController(), isReceived: false };
    this.#requests.add(request);
    this.#asking.began(parent);
    try {
      // Our own limit is no slowness of the parent's.
      await this.#modules.pass(bytes, request.abort.signal);
      await this.#receiveInTime(request, bytes);
      parent.answered();
    } catch (cause) {
      this.#judge(parent, toDrakkarError(request.abort.signal.aborted ? request.abort.signal.reason : cause));
    } finally {
      this.#modules.budget.give(bytes);
      this.#requests.delete(request);
      this.#asking.ended(parent, pieces);
      this.schedule();
    }
  }

  async #receiveInTime(request: Request, bytes: number): Promise<void> {
    const { parent, pieces, abort } = request;
    const hedge = setTimeout(
      () => {
        for (const piece of pieces) this.#picker.hedge(piece);
        this.schedule();
      },
      this.#asking.hedgeAfterMs(parent, bytes),
    );
    const patienceMs = Math.max(MIN_LEAVE_MS, LEAVE_AFTER * this.#asking.expectMs(parent, bytes));
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
        this.#asking.gained(parent);
      } catch (error) {
        failed(error);
        throw error;
      }
    }
    pool.give(buffer);
  }

  #judge(parent: Parent, error: DrakkarError): void {
    if (this.#isEnded || error.code === 'cancelled' || !this.#asking.parents.has(parent.peer)) return;
    const nowMs = performance.now();
    if (error instanceof WrongPiece) {
      this.#modules.lost(parent.peer, error.piece);
    } else if (error.code === 'busy') {
      if (parent.refused(nowMs, Math.random())) this.#modules.lost(parent.peer);
    } else {
      this.#modules.stalled();
      if (parent.failed(nowMs) || FINAL.has(error.code)) this.#modules.lost(parent.peer);
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
