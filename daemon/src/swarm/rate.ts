/** How fast something is, from what it has done lately. */
export class Throughput {
  #bytesPerMs: number | undefined;

  /** A transfer of so many bytes took so long. */
  add(bytes: number, ms: number): void {
    const now = bytes / Math.max(ms, 0.1);
    this.#bytesPerMs = this.#bytesPerMs === undefined ? now : this.#bytesPerMs * 0.7 + now * 0.3;
  }

  /** How long so many bytes will take; `undefined` where nothing is known. */
  expectMs(bytes: number): number | undefined {
    return this.#bytesPerMs === undefined ? undefined : bytes / this.#bytesPerMs;
  }
}

/** Memory that may be bound by transfers: less where the process needs much already. */
export class MemoryBudget {
  readonly #bytes: number;
  readonly #memoryBytes: number;
  #taken = 0;
  #measuredAtMs = 0;
  #isTight = false;

  constructor(bytes: number, memoryBytes: number) {
    this.#bytes = bytes;
    this.#memoryBytes = memoryBytes;
  }

  /** @param isFirst nothing else is on its way for the same blob: a blob never waits for another one to end */
  take(bytes: number, isFirst: boolean): boolean {
    if (!isFirst && this.#taken + bytes > this.#limit()) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }

  #limit(): number {
    const nowMs = performance.now();
    if (nowMs - this.#measuredAtMs > MEASURE_MS) {
      this.#measuredAtMs = nowMs;
      this.#isTight = process.memoryUsage.rss() > this.#memoryBytes;
    }
    return this.#isTight ? this.#bytes / TIGHT_SHARE : this.#bytes;
  }
}

const MEASURE_MS = 2_000;
const TIGHT_SHARE = 16;
