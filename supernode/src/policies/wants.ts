import { setImmediate } from 'node:timers/promises';
import { digestOf, hexOf } from '@drakkar/protocol';
import { currentTraceparent } from '@drakkar/service';
import type { Logger } from 'pino';
import { type Change, Collection, type StateStore, type Stored } from '../state/index.ts';
import { type Wanted, wantedSchema } from './schema.ts';
import { tooMuch } from './too-much.ts';

/** What is done once, however often it is asked for. */
export type Want = Pick<Wanted, 'policy' | 'image' | 'platform' | 'near'>;

export const MAX_WAITING = 10_000;
/** Changes of one commit: others have their turn between two. */
const PAGE = 500;

/** What waits for its turn, of all policies, in the order in which it came: at most {@link MAX_WAITING}. */
export class Wants {
  readonly #state: StateStore;
  readonly #documents: Collection<Wanted>;
  readonly #waiting = new Map<string, Wanted>();
  #lastMs = 0;

  private constructor(state: StateStore, log: Logger) {
    this.#state = state;
    this.#documents = new Collection(state, 'wanted', wantedSchema, (key, error) =>
      log.error({ key, error }, 'what waits for a policy can’t be read, and is left out'),
    );
  }

  static async open(state: StateStore, log: Logger): Promise<Wants> {
    const wants = new Wants(state, log);
    const all: Stored<Wanted>[] = await Array.fromAsync(wants.#documents.all());
    all.sort((one, other) => one.value.createdAtMs - other.value.createdAtMs);
    for (const { id, value } of all) wants.#waiting.set(id, value);
    wants.#lastMs = all.at(-1)?.value.createdAtMs ?? 0;
    return wants;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get(id: string): Wanted | undefined {
    return this.#waiting.get(id);
  }

  /** As they are now: what is changed meanwhile is not seen. */
  entries(): [id: string, wanted: Wanted][] {
    return [...this.#waiting];
  }

  /** From its beginning; no two at the same time, for that tells the one from the next. */
  begin({ policy, image, platform, near }: Want, nowMs: number): Wanted {
    this.#lastMs = Math.max(nowMs, this.#lastMs + 1);
    const wanted = { policy, image, platform, near, stage: 'build', build: null, isAgain: false } as const;
    return { ...wanted, traceparent: currentTraceparent() ?? '', createdAtMs: this.#lastMs };
  }

  /**
   * Kept when it returns.
   *
   * @param changes by their ids; `null` is no longer wanted
   * @param others of the state, that belong to it
   * @throws 429 where too many would wait
   */
  async change(changes: ReadonlyMap<string, Wanted | null>, others: readonly Change[] = []): Promise<void> {
    const added = [...changes].filter(([id, wanted]) => wanted !== null && !this.#waiting.has(id)).length;
    if (added > 0 && this.#waiting.size + added > MAX_WAITING)
      throw tooMuch('too many images wait for their policies');
    const all = [
      ...[...changes].map(([id, wanted]) => ({ id, wanted, change: this.#documents.change(id, wanted) })),
      ...others.map((change) => ({ id: null, wanted: null, change })),
    ];
    for (let from = 0; from < all.length; from += PAGE) {
      if (from > 0) await setImmediate();
      const page = all.slice(from, from + PAGE);
      await this.#state.commit(page.map(({ change }) => change));
      for (const { id, wanted } of page) {
        if (id === null) continue;
        if (wanted === null) this.#waiting.delete(id);
        else this.#waiting.set(id, wanted);
      }
    }
  }
}

export const idOf = ({ policy, image, platform }: Omit<Want, 'near'>): string =>
  hexOf(digestOf(`${policy} ${image} ${platform ?? ''}`));
