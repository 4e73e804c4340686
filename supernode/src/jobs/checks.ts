import type { PeerId } from '@drakkar/protocol';
import type { JobClock } from './contract.ts';

/** As often as it is looked whether a host still has it, where the job does not say. */
const EVERY_MS = 30 * 60_000;
/** Hosts that are asked at the same time. */
const AT_ONCE = 25;
/** Due ones are looked for no more often than this. */
const LOOK_MS = 250;

interface Asked {
  readonly task: number;
  heardMs: number;
}

/**
 * Which hosts that have what a job keeps there are to be asked whether they still have it, and which are being asked: each now and then, and soon when it has
 * been away. Hosts that come when a supernode has just begun were not away: thousands of them would be asked at once.
 */
export class Checks {
  readonly #everyMs: number;
  readonly #clock: Pick<JobClock, 'evenMs' | 'chance'>;
  readonly #dueMs = new Map<PeerId, number>();
  readonly #asked = new Map<PeerId, Asked>();
  readonly #left = new Set<PeerId>();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<JobClock, 'evenMs' | 'chance'>, everyMs = EVERY_MS) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /** A host has it now. */
  has(peer: PeerId): void {
    this.#asked.delete(peer);
    // Those that got it together are not asked together, and who was asked last is asked last.
    this.#dueMs.delete(peer);
    this.#dueMs.set(peer, this.#clock.evenMs() + this.#everyMs * (0.5 + this.#clock.chance() / 2));
  }

  /** It is to be asked soon. */
  doubt(peer: PeerId): void {
    this.#dueMs.set(peer, this.#clock.evenMs());
  }

  /** A host has it no longer, or is at it anew. */
  lost(peer: PeerId): void {
    this.#dueMs.delete(peer);
    this.#asked.delete(peer);
    this.#left.delete(peer);
  }

  left(peer: PeerId): void {
    if (!this.#dueMs.has(peer)) return;
    this.#asked.delete(peer);
    this.#left.add(peer);
  }

  came(peer: PeerId): void {
    if (this.#left.delete(peer)) this.#dueMs.set(peer, this.#clock.evenMs());
  }

  /** Whom to ask now. Those that are away are asked when they come. */
  *due(): Generator<PeerId> {
    const nowMs = this.#clock.evenMs();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    for (const [peer, dueMs] of this.#dueMs) {
      if (this.#asked.size >= AT_ONCE) return;
      if (dueMs <= nowMs && !this.#asked.has(peer) && !this.#left.has(peer)) yield peer;
    }
  }

  ask(peer: PeerId, task: number): void {
    this.#asked.set(peer, { task, heardMs: this.#clock.evenMs() });
  }

  isAsked(peer: PeerId, task: number): boolean {
    return this.#asked.get(peer)?.task === task;
  }

  /** It has not said yet what it has, and goes on. */
  alive(peer: PeerId): void {
    const asked = this.#asked.get(peer);
    if (asked !== undefined) asked.heardMs = this.#clock.evenMs();
  }

  /** Whoever was asked and has said nothing for so long. */
  silent(ms: number): PeerId[] {
    const nowMs = this.#clock.evenMs();
    return [...this.#asked].filter(([, { heardMs }]) => nowMs - heardMs >= ms).map(([peer]) => peer);
  }
}
