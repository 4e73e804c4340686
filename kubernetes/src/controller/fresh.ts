import { remember } from '../bounded.ts';

/** Answers that are asked for once in a while, however many want them. What could not be asked is not kept. */
export class Fresh<T> {
  readonly #lastsMs: (answer: T) => number;
  readonly #most: number;
  readonly #kept = new Map<string, { untilMs: number; readonly answer: Promise<T> }>();

  /** @param most so many are kept, the last */
  constructor(lastsMs: (answer: T) => number, most: number) {
    this.#lastsMs = lastsMs;
    this.#most = most;
  }

  async get(key: string, ask: () => Promise<T>): Promise<T> {
    const known = this.#kept.get(key);
    if (known !== undefined && performance.now() < known.untilMs) return await known.answer;
    const kept = { untilMs: Number.POSITIVE_INFINITY, answer: ask() };
    remember(this.#kept, key, kept, this.#most);
    try {
      const answer = await kept.answer;
      kept.untilMs = performance.now() + this.#lastsMs(answer);
      return answer;
    } catch (error) {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
      throw error;
    }
  }
}
