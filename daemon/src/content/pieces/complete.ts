import { setTimeout as sleep } from 'node:timers/promises';
import { lengthOf } from '@drakkar/protocol';
import type { CompleteOptions } from '../contract.ts';
import type { ReceiptCounter } from '../receipt.ts';
import type { PieceDownload } from './download.ts';
import { piecesOf, rangeFrom } from './ranges.ts';

/** So much is wanted at a time, */
const BATCH_BYTES = 2 * 1024 * 1024;
/** and so much has been wanted and is not here yet, at most. */
const AHEAD_BYTES = 16 * 1024 * 1024;
/** The order of what peers have is found anew after so many pieces. */
const RAREST_PIECES = 1024;
const POLL_MS = 100;

/**
 * Wants all that is missing and that nobody wants, in batches: what peers have, the rarest first; else what this host may read
 * upstream, from the start. Returns when every piece is here. @throws why one cannot be had
 */
export async function completePieces(
  download: PieceDownload,
  { signal, pass }: CompleteOptions,
  receipt: ReceiptCounter,
): Promise<void> {
  const failing = new AbortController();
  const until = AbortSignal.any([signal, failing.signal]);
  const running = new Set<Promise<void>>();
  const rest = new Rest(download);
  let aheadBytes = 0;
  let failure: { readonly cause: unknown } | undefined;
  try {
    while (download.presentPieces < download.cut.pieceCount) {
      if (failure !== undefined) throw failure.cause;
      signal.throwIfAborted();
      const batch = aheadBytes < AHEAD_BYTES ? rest.next() : [];
      if (batch.length === 0) {
        await Promise.race([...running, sleep(POLL_MS)]);
        continue;
      }
      await pass?.(batch.reduce((sum, piece) => sum + lengthOf(download.cut, piece), 0));
      const left = batch.filter((piece) => !download.has(piece) && !download.isWanted(piece));
      const bytes = left.reduce((sum, piece) => sum + lengthOf(download.cut, piece), 0);
      aheadBytes += bytes;
      const wanted: Promise<void> = download
        .wantRest(left, receipt, until)
        .catch((cause: unknown) => {
          failure ??= { cause };
        })
        .finally(() => {
          aheadBytes -= bytes;
          running.delete(wanted);
        });
      running.add(wanted);
    }
  } finally {
    failing.abort();
    await Promise.all(running);
  }
}

/** What of a blob to want next, of what nobody wants. */
class Rest {
  readonly #download: PieceDownload;
  #rarest: number[] = [];
  /** Everything before it is here, or was wanted. */
  #from = 0;

  constructor(download: PieceDownload) {
    this.#download = download;
  }

  /** Empty where nothing can be had at the moment. */
  next(): number[] {
    const rare = this.#nextRarest();
    if (rare.length > 0) return rare;
    return this.#download.swarm?.mayReadUpstream === false ? [] : this.#nextInOrder();
  }

  #nextRarest(): number[] {
    if (!this.#rarest.some(this.#isLeft)) {
      this.#rarest = this.#download.swarm?.rarest.slice(0, RAREST_PIECES) ?? [];
    }
    const batch: number[] = [];
    for (let bytes = 0; bytes < BATCH_BYTES; ) {
      const piece = this.#rarest.shift();
      if (piece === undefined) break;
      if (!this.#isLeft(piece)) continue;
      batch.push(piece);
      bytes += lengthOf(this.#download.cut, piece);
    }
    return batch;
  }

  #nextInOrder(): number[] {
    const { cut } = this.#download;
    for (let turn = 0; turn < 2; turn += 1) {
      while (this.#from < cut.pieceCount && !this.#isLeft(this.#from)) this.#from += 1;
      if (this.#from < cut.pieceCount) {
        const range = rangeFrom(cut, this.#from, BATCH_BYTES, this.#isLeft);
        this.#from = range.last + 1;
        return piecesOf(range);
      }
      // What was wanted by somebody who has left is missing again.
      this.#from = 0;
    }
    return [];
  }

  readonly #isLeft = (piece: number): boolean =>
    !this.#download.has(piece) && !this.#download.isWanted(piece);
}
