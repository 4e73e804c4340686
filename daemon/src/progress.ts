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
}
