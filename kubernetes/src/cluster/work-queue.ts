import { StatusError } from './contract.ts';
import { delayMs } from './retry.ts';

export interface WorkQueueOptions {
  /** So many keys are worked on at the same time. */
  readonly atOnce: number;
  /**
   * Brings about what a key stands for, whatever has happened before.
   * @returns after how many milliseconds it is to be looked at again, where it is
   */
  work(key: string, signal: AbortSignal): Promise<number | undefined>;
  /** It is tried again. */
  failed(key: string, error: unknown, failures: number): void;
}

/**
 * Keys to be worked on: each once however often it is added, never twice at the same time, and once more where it was added meanwhile. What fails is tried
 * again, later each time.
 */
export class WorkQueue implements AsyncDisposable {
  readonly #options: WorkQueueOptions;
  readonly #waiting = new Set<string>();
  readonly #later = new Map<string, { readonly atMs: number; readonly timer: NodeJS.Timeout }>();
  readonly #working = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  /** What has failed waits until then, unless it is added. */
  readonly #notBeforeMs = new Map<string, number>();
  readonly #ending = new AbortController();

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Waiting, and being worked on. */
  get size(): number {
    return this.#waiting.size + this.#working.size;
  }

  add(key: string): void {
    if (this.#ending.signal.aborted) return;
    this.#cancel(key);
    if (this.#working.has(key)) this.#again.add(key);
    else this.#waiting.add(key);
    this.#begin();
  }

  /** Where it is to be later already, the sooner counts; what has failed is not tried again sooner for that. */
  addIn(key: string, afterMs: number): void {
    if (this.#ending.signal.aborted) return;
    const nowMs = performance.now();
    const atMs = Math.max(nowMs + afterMs, this.#notBeforeMs.get(key) ?? 0);
    const known = this.#later.get(key);
    if (known !== undefined && known.atMs <= atMs) return;
    this.#cancel(key);
    const timer = setTimeout(
      () => {
        this.#later.delete(key);
        this.add(key);
      },
      Math.min(atMs - nowMs, MAX_TIMER_MS),
    );
    this.#later.set(key, { atMs, timer });
  }

  /** Nothing more is begun. Returns when what was has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    for (const { timer } of this.#later.values()) clearTimeout(timer);
    this.#later.clear();
    this.#waiting.clear();
    await Promise.all(this.#working.values());
  }

  #cancel(key: string): void {
    clearTimeout(this.#later.get(key)?.timer);
    this.#later.delete(key);
  }

  #begin(): void {
    for (const key of this.#waiting) {
      if (this.#working.size >= this.#options.atOnce) return;
      this.#waiting.delete(key);
      this.#working.set(key, this.#work(key));
    }
  }

  async #work(key: string): Promise<void> {
    const { signal } = this.#ending;
    this.#notBeforeMs.delete(key);
    try {
      const afterMs = await this.#options.work(key, signal);
      this.#failures.delete(key);
      if (afterMs !== undefined) this.addIn(key, afterMs);
    } catch (error) {
      if (!signal.aborted) this.#tryAgain(key, error);
    } finally {
      this.#working.delete(key);
      if (this.#again.delete(key)) this.add(key);
      else if (!signal.aborted) this.#begin();
    }
  }

  #tryAgain(key: string, error: unknown): void {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    this.#options.failed(key, error, failures);
    const afterMs = delayMs(failures, error instanceof StatusError ? error.retryAfterMs : undefined);
    this.#cancel(key);
    this.#notBeforeMs.set(key, performance.now() + afterMs);
    this.addIn(key, afterMs);
  }
}

/** Longer ones would fire at once. Source: Node.js, `setTimeout`. */
const MAX_TIMER_MS = 2 ** 31 - 1;
