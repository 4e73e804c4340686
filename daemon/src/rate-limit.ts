import { setTimeout as sleep } from 'node:timers/promises';
import { DrakkarError } from '@drakkar/protocol';

const BURST_MS = 250;

/** Bytes that are passed on at a rate, with bursts of a quarter of a second. */
export class RateLimit {
  readonly #bytesPerSecond: number | null;
  #freeAtMs = 0;

  /** @param bytesPerSecond `null` lets everything pass at once */
  constructor(bytesPerSecond: number | null) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Returns when the bytes may pass. @throws `cancelled` */
  async pass(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === null) return;
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs - BURST_MS) + (bytes * 1000) / this.#bytesPerSecond;
    const waitMs = this.#freeAtMs - nowMs;
    if (waitMs <= 0) return;
    try {
      await sleep(waitMs, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // It did not pass.
      this.#freeAtMs -= (bytes * 1000) / this.#bytesPerSecond;
      throw new DrakkarError('cancelled', 'nobody waits for these bytes any more', { cause: error });
    }
  }
}
