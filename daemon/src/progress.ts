import { setTimeout as sleep } from 'node:timers/promises';
import { DrakkarError } from '@drakkar/protocol';

/** Lets many wait for the next step of something. */
export class Progress {
  readonly #waiting = new Set<() => void>();

  step(): void {
    const woken = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of woken) wake();
  }

  /** @throws `cancelled` */
  next(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal?.removeEventListener('abort', cancel);
        resolve();
      };
      const cancel = () => {
        this.#waiting.delete(wake);
        reject(new DrakkarError('cancelled', 'the read was cancelled', { cause: signal?.reason }));
      };
      if (signal?.aborted === true) {
        cancel();
        return;
      }
      this.#waiting.add(wake);
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** As {@link next}, but waits no longer than this. */
  async nextWithin(milliseconds: number, signal: AbortSignal): Promise<void> {
    const waiting = new AbortController();
    const either = AbortSignal.any([signal, waiting.signal]);
    try {
      await Promise.race([
        this.next(either).catch(() => {}),
        sleep(milliseconds, undefined, { signal: either }).catch(() => {}),
      ]);
    } finally {
      waiting.abort();
    }
    signal.throwIfAborted();
  }
}
