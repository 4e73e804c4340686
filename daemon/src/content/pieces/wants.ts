import { DrakkarError, toDrakkarError } from '@drakkar/protocol';
import { byUrgency, URGENCIES, type Urgency } from '../../urgency.ts';
import type { ReceiptCounter } from '../receipt.ts';

/** A missing piece that somebody wants. */
export interface WantedPiece {
  readonly piece: number;
  /** Since when it is as urgent as it is. */
  readonly sinceMs: number;
  /** Of who wanted it first: it counts where the piece comes from. */
  readonly payer: ReceiptCounter;
  /** Upstream has failed to give it, and is not asked again before `restsUntilMs`. */
  readonly failure: DrakkarError | undefined;
  readonly restsUntilMs: number;
}

interface Entry extends WantedPiece {
  readonly urgency: Urgency;
  readonly waiters: Set<Waiter>;
  failure: DrakkarError | undefined;
  restsUntilMs: number;
}

interface Waiter {
  readonly receipt: ReceiptCounter;
  readonly left: Set<number>;
  readonly done: PromiseWithResolvers<void>;
}

/** Which missing pieces of a blob are wanted, in which order, and who waits for them. No I/O. */
export class Wants {
  /** Each in the order of asking. */
  readonly #entries = byUrgency(() => new Map<number, Entry>());

  get size(): number {
    return URGENCIES.reduce((sum, urgency) => sum + this.#entries[urgency].size, 0);
  }

  get(piece: number): WantedPiece | undefined {
    return this.#find(piece);
  }

  /** The most urgent first, and of those the first that was asked for. */
  *inOrder(...urgencies: readonly Urgency[]): Generator<WantedPiece, void, undefined> {
    for (const urgency of urgencies) yield* this.#entries[urgency].values();
  }

  /**
   * Waits until all of these have {@link arrived}.
   * @param dropped is told of those that nobody waits for any more when the signal ends this wait
   * @throws what one of them {@link failed} with, or `cancelled` | `timeout` as the signal says
   */
  async wait(
    pieces: readonly number[],
    urgency: Urgency,
    receipt: ReceiptCounter,
    nowMs: number,
    signal: AbortSignal,
    dropped: (pieces: readonly number[]) => void,
  ): Promise<void> {
    const waiter = { receipt, left: new Set(pieces), done: Promise.withResolvers<void>() };
    for (const piece of waiter.left) this.#add(piece, urgency, waiter, nowMs);
    const abort = () => {
      waiter.done.reject(reasonOf(signal));
      dropped(this.#leave(waiter));
    };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      await waiter.done.promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** @param bytes its length, which those that have joined are told of. @returns who wanted it first */
  arrived(piece: number, bytes: number): ReceiptCounter | undefined {
    const entry = this.#take(piece);
    if (entry === undefined) return undefined;
    for (const waiter of entry.waiters) {
      if (waiter.receipt !== entry.payer) waiter.receipt.joined(bytes);
      waiter.left.delete(piece);
      if (waiter.left.size === 0) waiter.done.resolve();
    }
    return entry.payer;
  }

  /** It can't be had: who waits for it is told, and it is wanted no longer. */
  failed(piece: number, error: DrakkarError): void {
    for (const waiter of this.#take(piece)?.waiters ?? []) {
      waiter.done.reject(error);
      // The others of his are fetched all the same.
      for (const other of waiter.left) this.#find(other)?.waiters.delete(waiter);
    }
  }

  failAll(error: DrakkarError): void {
    for (const { piece } of [...this.inOrder(...URGENCIES)]) this.failed(piece, error);
  }

  /** Upstream did not give it, and others still may. */
  postpone(piece: number, failure: DrakkarError, restsUntilMs: number): void {
    const entry = this.#find(piece);
    if (entry !== undefined) Object.assign(entry, { failure, restsUntilMs });
  }

  #add(piece: number, urgency: Urgency, waiter: Waiter, nowMs: number): void {
    const entry = this.#find(piece);
    if (entry !== undefined && URGENCIES.indexOf(entry.urgency) <= URGENCIES.indexOf(urgency)) {
      entry.waiters.add(waiter);
      return;
    }
    this.#take(piece);
    this.#entries[urgency].set(piece, {
      piece,
      urgency,
      payer: entry?.payer ?? waiter.receipt,
      sinceMs: nowMs,
      waiters: new Set([...(entry?.waiters ?? []), waiter]),
      failure: entry?.failure,
      restsUntilMs: entry?.restsUntilMs ?? 0,
    });
  }

  /** @returns what nobody waits for any more */
  #leave(waiter: Waiter): number[] {
    return [...waiter.left].filter((piece) => {
      const entry = this.#find(piece);
      if (entry?.waiters.delete(waiter) !== true || entry.waiters.size > 0) return false;
      this.#take(piece);
      return true;
    });
  }

  #find(piece: number): Entry | undefined {
    const { urgent, soon, rest } = this.#entries;
    return urgent.get(piece) ?? soon.get(piece) ?? rest.get(piece);
  }

  #take(piece: number): Entry | undefined {
    const entry = this.#find(piece);
    if (entry !== undefined) this.#entries[entry.urgency].delete(piece);
    return entry;
  }
}

function reasonOf({ reason }: AbortSignal): DrakkarError {
  if (reason instanceof Error && reason.name === 'TimeoutError') {
    return new DrakkarError('timeout', 'the pieces did not come in time', { cause: reason });
  }
  return toDrakkarError(reason, 'cancelled');
}
