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

  /** As {@link next}, but waits no longer than this. It is waited thousands of times: nothing is made that is not needed. */
  nextWithin(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        signal.removeEventListener('abort', settle);
        if (signal.aborted) reject(signal.reason);
        else resolve();
      };
      const timer = setTimeout(settle, milliseconds);
      this.#waiting.add(settle);
      if (signal.aborted) settle();
      else signal.addEventListener('abort', settle, { once: true });
    });
  }
}
