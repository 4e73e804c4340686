import type { Events } from './events.ts';

/** Flows that end within so long of what was foreseen are not foreseen anew. */
const TOLERANCE_MS = 0.5;
/** Who is held back elsewhere shows when others have been given more. */
const PASSES = 2;
/** A link of more flows than this takes no notice of each that comes and goes. */
const CROWD = 64;

/** One direction of a line: its flows share it, as far as other links do not hold them back. */
export class Link {
  readonly bytesPerMs: number;
  readonly flows = new Set<Flow>();
  /** What each flow may have that is held back by this link alone. */
  share: number;
  sentBytes = 0;

  constructor(bytesPerSecond: number) {
    this.bytesPerMs = bytesPerSecond / 1000;
    this.share = this.bytesPerMs;
  }

  /** Max-min fairness, as far as one link sees it: what some flows do not use is for the others. */
  level(): void {
    const { size } = this.flows;
    if (size === 0 || size > CROWD) {
      this.share = this.bytesPerMs / Math.max(1, size);
      return;
    }
    let share = this.bytesPerMs / size;
    for (let pass = 0; pass < PASSES; pass += 1) {
      let left = this.bytesPerMs;
      let count = size;
      for (const flow of this.flows) {
        const elsewhere = flow.shareBut(this);
        if (elsewhere >= share) continue;
        left -= elsewhere;
        count -= 1;
      }
      if (count === 0 || count === size) break;
      share = left / count;
    }
    this.share = share;
  }
}

/** Bytes on their way over some links. */
export class Flow {
  readonly #links: readonly Link[];
  readonly #events: Events;
  readonly #arrived: () => void;
  #left: number;
  #rate = 0;
  #atMs: number;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #isOver = false;

  constructor(events: Events, links: readonly Link[], bytes: number, arrived: () => void) {
    this.#events = events;
    this.#links = links;
    this.#arrived = arrived;
    this.#left = bytes;
    this.#atMs = events.nowMs;
    for (const link of links) link.flows.add(this);
    this.#shareAnew();
    for (const link of links) link.sentBytes += bytes;
  }

  /** What the other links leave it. */
  shareBut(link: Link): number {
    let least = Number.POSITIVE_INFINITY;
    for (const other of this.#links) if (other !== link && other.share < least) least = other.share;
    return least;
  }

  /** Bytes that have not come. */
  leftAt(nowMs: number): number {
    return Math.max(0, this.#left - (nowMs - this.#atMs) * this.#rate);
  }

  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const left = this.leftAt(this.#events.nowMs);
    for (const link of this.#links) {
      link.flows.delete(this);
      link.sentBytes -= left;
    }
    this.#shareAnew();
  }

  #shareAnew(): void {
    for (const link of this.#links) link.level();
    for (const link of this.#links) {
      if (link.flows.size > CROWD) continue;
      for (const flow of link.flows) flow.#pace();
    }
    if (!this.#isOver) this.#pace();
  }

  #pace(): void {
    let rate = Number.POSITIVE_INFINITY;
    for (const { share } of this.#links) if (share < rate) rate = share;
    if (rate === this.#rate) return;
    const { nowMs } = this.#events;
    this.#left = this.leftAt(nowMs);
    this.#atMs = nowMs;
    this.#rate = rate;
    this.#foresee();
  }

  #foresee(): void {
    const dueAtMs = this.#events.nowMs + this.#left / this.#rate;
    if (dueAtMs > this.#dueAtMs - TOLERANCE_MS) return;
    this.#dueAtMs = dueAtMs;
    this.#events.after(dueAtMs - this.#events.nowMs, () => {
      if (this.#isOver || this.#dueAtMs !== dueAtMs) return;
      this.#dueAtMs = Number.POSITIVE_INFINITY;
      this.#left = this.leftAt(this.#events.nowMs);
      this.#atMs = this.#events.nowMs;
      if (this.#left > this.#rate * TOLERANCE_MS) {
        this.#foresee();
        return;
      }
      this.#left = 0;
      this.stop();
      this.#arrived();
    });
  }
}
