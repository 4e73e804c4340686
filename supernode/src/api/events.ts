import { randomBytes } from 'node:crypto';

export const EVENT_TOPICS = ['job', 'host', 'traffic', 'snapshot'] as const;
export type EventTopic = (typeof EVENT_TOPICS)[number];

/** Something that has changed, for whoever looks at it. */
export interface ApiEvent {
  readonly id: string;
  readonly topic: EventTopic;
  /** What it is now, in JSON: written once, and as it was then. */
  readonly text: string;
}

export interface EventsOptions {
  /** So many are kept for who comes back; the oldest go first. */
  readonly maxKept: number;
  /** Of all that are kept. */
  readonly maxBytes: number;
}

const DEFAULTS: EventsOptions = { maxKept: 2_000, maxBytes: 16 * 1024 * 1024 };

/** What happens, told to whoever listens; who was away for a moment is told what happened meanwhile. */
export class Events {
  readonly #options: EventsOptions;
  /** An id of another run means nothing here. */
  readonly #run = randomBytes(4).toString('hex');
  readonly #listeners = new Set<(event: ApiEvent) => void>();
  /** Those before {@link #first} are gone already: to move the others each time takes too long. */
  #kept: ApiEvent[] = [];
  #first = 0;
  #bytes = 0;
  #count = 0;

  constructor(options: Partial<EventsOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  tell(topic: EventTopic, data: object): void {
    this.#count += 1;
    const told = { topic, text: JSON.stringify(data), id: `${this.#run}-${this.#count}` };
    this.#keep(told);
    for (const listener of this.#listeners) listener(told);
  }

  /**
   * @param last what was heard last
   * @returns what has happened since; `undefined` where nobody knows any more
   */
  since(last: string): ApiEvent[] | undefined {
    const [run, number] = last.split('-');
    const missed = this.#count - Number(number);
    const kept = this.#kept.length - this.#first;
    if (run !== this.#run || !Number.isInteger(missed) || missed < 0 || missed > kept) return undefined;
    return missed === 0 ? [] : this.#kept.slice(-missed);
  }

  listen(listener: (event: ApiEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #keep(told: ApiEvent): void {
    const { maxKept, maxBytes } = this.#options;
    this.#kept.push(told);
    this.#bytes += sizeOf(told);
    while (this.#kept.length - this.#first > maxKept || this.#bytes > maxBytes) {
      const oldest = this.#kept[this.#first];
      if (oldest === undefined) break;
      this.#bytes -= sizeOf(oldest);
      // A slot that is passed holds nothing.
      this.#kept[this.#first] = PASSED;
      this.#first += 1;
    }
    if (this.#first <= maxKept) return;
    this.#kept = this.#kept.slice(this.#first);
    this.#first = 0;
  }
}

const PASSED: ApiEvent = { id: '', topic: 'host', text: '' };

/** As memory has it, at the most: two bytes a character. */
const sizeOf = ({ text }: ApiEvent): number => 2 * text.length;
