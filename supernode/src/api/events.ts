import { randomBytes } from 'node:crypto';

/** Something that has changed, for whoever looks at it. */
export interface ApiEvent {
  readonly topic: EventTopic;
  readonly data: unknown;
}

export const EVENT_TOPICS = ['job', 'host', 'traffic', 'snapshot'] as const;
export type EventTopic = (typeof EVENT_TOPICS)[number];

interface Told extends ApiEvent {
  readonly id: string;
}

/** So many are kept for who comes back. */
const KEPT = 2_000;

/** What happens, told to whoever listens; who was away for a moment is told what happened meanwhile. */
export class Events {
  /** An id of another run means nothing here. */
  readonly #run = randomBytes(4).toString('hex');
  readonly #listeners = new Set<(event: Told) => void>();
  #kept: Told[] = [];
  #count = 0;

  get listeners(): number {
    return this.#listeners.size;
  }

  tell(topic: EventTopic, data: unknown): void {
    this.#count += 1;
    const told = { topic, data, id: `${this.#run}-${this.#count}` };
    this.#kept.push(told);
    if (this.#kept.length > 2 * KEPT) this.#kept = this.#kept.slice(-KEPT);
    for (const listener of this.#listeners) listener(told);
  }

  /**
   * @param last what was heard last
   * @returns what has happened since; `undefined` where nobody knows any more
   */
  since(last: string): Told[] | undefined {
    const [run, number] = last.split('-');
    const missed = this.#count - Number(number);
    if (run !== this.#run || !Number.isInteger(missed) || missed < 0 || missed > this.#kept.length)
      return undefined;
    return missed === 0 ? [] : this.#kept.slice(-missed);
  }

  listen(listener: (event: Told) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }
}
