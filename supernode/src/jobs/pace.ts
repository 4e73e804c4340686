/** Tasks a millisecond: at first, and what it comes to in between. */
const [FIRST, LEAST, MOST] = [0.5, 0.1, 2];
/** Who waits longer than this for the supernode notices it. */
const LAG_MS = 20;
const [SLOWER, FASTER] = [0.8, 1.05];
/** What was left unused is good for so long. */
const SAVED_MS = 50;
/** Tasks that are said again, all at once after a restart, leave no more than this to be made good. */
const MOST_OWED = -500;
/** How often it is asked anew whether there is room. */
export const PACE_MS = 10;

/**
 * How many tasks hosts may be given at the moment. Each task is answered at once by a host that is idle, and thousands of answers would be dealt with before
 * anything else that came after them: so tasks are begun no faster than all can be dealt with in between, as the supernode's own delays show. Pure.
 */
export class Pace {
  #perMs = FIRST;
  #room = FIRST * SAVED_MS;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  room(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#room = Math.min(this.#room + passedMs * this.#perMs, this.#perMs * SAVED_MS);
    return Math.max(0, Math.floor(this.#room));
  }

  /** A task was begun, whether or not there was room. */
  begun(): void {
    this.#room = Math.max(MOST_OWED, this.#room - 1);
  }

  /** @param lagMs how long something waited that had nothing to wait for */
  lagged(lagMs: number): void {
    const perMs = this.#perMs * (lagMs > LAG_MS ? SLOWER : FASTER);
    this.#perMs = Math.min(MOST, Math.max(LEAST, perMs));
  }
}
