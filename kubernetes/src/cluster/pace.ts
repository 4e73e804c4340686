/** So many a second, and so many at once after a while without any. */
export class Pace {
  readonly #gapMs: number;
  readonly #burstMs: number;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number, burst: number) {
    this.#gapMs = 1_000 / perSecond;
    this.#burstMs = burst * this.#gapMs;
  }

  /** @returns how many milliseconds it is until its turn, in the order of the calls */
  turn(nowMs: number): number {
    this.#nextMs = Math.max(this.#nextMs, nowMs - this.#burstMs) + this.#gapMs;
    return Math.max(0, this.#nextMs - nowMs);
  }
}
