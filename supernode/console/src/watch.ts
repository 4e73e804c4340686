import { call, Problem } from './api.ts';
import { generation, onEvents, type Topic } from './events.ts';

export interface WatchOptions<Value> {
  /** How often it is fetched again, so long as somebody looks. */
  readonly everyMs?: number;
  /** Events after which it is not as it was. */
  readonly topics?: readonly Topic[];
  /** What an event makes of it, so that it need not be fetched: `null` where that cannot be told. */
  readonly merge?: (value: Value, topic: Topic, data: unknown) => Value | null;
}

export interface Watched<Value> {
  /** What was last known, also while it cannot be fetched. */
  readonly value: Value | null;
  readonly problem: Problem | null;
}

/** Fetches are at least so far apart, however much happens. */
const APART_MS = 1_500;

/** Something of the API, fetched again whenever it may have changed. */
export class Watch<Value> {
  readonly #path: string;
  readonly #options: () => WatchOptions<Value>;
  readonly #onChange: (watched: Watched<Value>) => void;
  readonly #ended = new AbortController();
  readonly #stops: (() => void)[];
  #now: Watched<Value> = { value: null, problem: null };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #startedAtMs = 0;
  #isFetching = false;
  #isStale = false;

  constructor(path: string, options: () => WatchOptions<Value>, onChange: (watched: Watched<Value>) => void) {
    this.#path = path;
    this.#options = options;
    this.#onChange = onChange;
    this.#stops = [onEvents((topic, data) => this.#hear(topic as Topic, data)), this.#followGenerations()];
    this.refresh();
  }

  refresh(): void {
    clearTimeout(this.#timer);
    if (this.#isFetching) this.#isStale = true;
    else void this.#fetch();
  }

  /** It is known from elsewhere, as from the answer to a change. */
  set(value: Value): void {
    this.#show({ value, problem: null });
  }

  end(): void {
    this.#ended.abort();
    clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }

  #followGenerations(): () => void {
    let known = generation.peek();
    return generation.subscribe((now) => {
      if (now !== known) this.refresh();
      known = now;
    });
  }

  #show(now: Watched<Value>): void {
    this.#now = now;
    this.#onChange(now);
  }

  async #fetch(): Promise<void> {
    const { signal } = this.#ended;
    this.#isFetching = true;
    this.#isStale = false;
    this.#startedAtMs = performance.now();
    try {
      this.set(await call<Value>(this.#path, { signal }));
    } catch (cause) {
      if (signal.aborted) return;
      const problem = cause instanceof Problem ? cause : new Problem(0, String(cause));
      this.#show({ ...this.#now, problem });
    }
    this.#isFetching = false;
    const { everyMs } = this.#options();
    if (this.#isStale) this.#soon();
    else if (everyMs !== undefined) this.#wait(everyMs);
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (document.visibilityState === 'visible') this.refresh();
      else this.#wait(Math.max(ms, APART_MS));
    }, ms);
  }

  #soon(): void {
    if (this.#isFetching) this.#isStale = true;
    else this.#wait(Math.max(0, this.#startedAtMs + APART_MS - performance.now()));
  }

  #hear(topic: Topic, data: unknown): void {
    const { topics, merge } = this.#options();
    if (topics?.includes(topic) !== true) return;
    const { value } = this.#now;
    const merged = value === null ? null : (merge?.(value, topic, data) ?? null);
    if (merged === null) this.#soon();
    else this.set(merged);
  }
}
