import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 10;
const NANOSECONDS = 1e9;

/** How long whoever wants something of this process waits for their turn. */
export class LoopDelay implements Disposable {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** What 99 of 100 turns stay below, in seconds, since this was asked before. */
  take(): number {
    // Of each turn it says when it came, and it was to come so late.
    const seconds = this.#histogram.percentile(99) / NANOSECONDS - RESOLUTION_MS / 1000;
    this.#histogram.reset();
    return Math.max(0, seconds);
  }

  [Symbol.dispose](): void {
    this.#histogram.disable();
  }
}
