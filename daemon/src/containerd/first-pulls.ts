import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../snapshots/index.ts';

export interface FirstPullsOptions {
  /** After the pull began, at least: at most three times as much, so that of hosts that pull at the same time one is the first. */
  readonly delayMs: number;
}

/** Comes by an image's snapshot: the cluster may have it by then, else it is built; or leaves that to the cluster, which is told. */
export type MakeSnapshot = (image: string, signal: AbortSignal) => Promise<'made' | 'told'>;

/** More of them are left to their next pull. */
const MAX_WAITING = 256;

/** Has snapshots made of images that containerd unpacks since there are none: in the background, one after the other. */
export class FirstPulls implements AsyncDisposable {
  readonly #options: FirstPullsOptions;
  readonly #make: MakeSnapshot;
  readonly #log: Log;
  readonly #waiting = new Set<string>();
  readonly #ending = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(options: FirstPullsOptions, make: MakeSnapshot, log: Log) {
    this.#options = options;
    this.#make = make;
    this.#log = log;
  }

  add(image: string): void {
    if (this.#waiting.has(image) || this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.add(image);
    const beginAtMs = performance.now() + this.#options.delayMs * (1 + 2 * Math.random());
    this.#last = this.#last
      .then(() => this.#run(image, beginAtMs))
      .finally(() => this.#waiting.delete(image));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#last;
  }

  async #run(image: string, beginAtMs: number): Promise<void> {
    const { signal } = this.#ending;
    try {
      await sleep(Math.max(0, beginAtMs - performance.now()), undefined, { signal });
      const outcome = await this.#make(image, signal);
      const what = { made: 'has a snapshot now', told: 'is known to the cluster now' }[outcome];
      this.#log.info({ image }, `an image that was unpacked ${what}`);
    } catch (error) {
      if (!signal.aborted)
        this.#log.warn({ image, error }, 'no snapshot could be made of an image that was unpacked');
    }
  }
}
