import { DrakkarError } from '@drakkar/protocol';
import type { z } from 'zod';
import { ABSENT, type Change, type Entry, type StateStore } from './contract.ts';

export interface Stored<Value> {
  readonly id: string;
  readonly value: Value;
  readonly revision: number;
}

export interface Page<Value> {
  readonly items: readonly Stored<Value>[];
  /** What the next page comes after; `null` where there is none. */
  readonly next: string | null;
}

export interface PageOptions {
  /** An id. */
  readonly after?: string | undefined;
  readonly limit: number;
  readonly reverse?: boolean | undefined;
}

/** How often an update that somebody else was faster with is tried again. */
const TRIES = 20;
const PAGE = 500;

/** Documents of one kind, checked by their schema when they are read: what an earlier version has written is made into what this one knows there. */
export class Collection<Value> {
  readonly store: StateStore;
  readonly prefix: string;
  readonly #schema: z.ZodType<Value>;
  readonly #onUnreadable: ((key: string, error: unknown) => void) | undefined;

  /**
   * @param name of its keys; no other collection's may begin with it and a slash
   * @param onUnreadable told of what is left out of lists since it can't be read; where nobody is told, that is an error
   */
  constructor(
    store: StateStore,
    name: string,
    schema: z.ZodType<Value>,
    onUnreadable?: (key: string, error: unknown) => void,
  ) {
    this.store = store;
    this.prefix = `${name}/`;
    this.#schema = schema;
    this.#onUnreadable = onUnreadable;
  }

  /** One part of a commit. */
  change(id: string, value: Value | null, options: Pick<Change, 'expects' | 'ttlMs'> = {}): Change {
    return { ...options, key: this.prefix + id, value: value === null ? null : JSON.stringify(value) };
  }

  async get(id: string): Promise<Stored<Value> | undefined> {
    const entry = await this.store.get(this.prefix + id);
    return entry && this.#read(entry);
  }

  async page({ after, limit, reverse }: PageOptions): Promise<Page<Value>> {
    const entries = await this.store.list(this.prefix, {
      limit: limit + 1,
      reverse,
      after: after === undefined ? undefined : this.prefix + after,
    });
    const shown = entries.slice(0, limit);
    const last = shown.at(-1)?.key.slice(this.prefix.length) ?? null;
    return {
      items: shown.flatMap((entry) => this.#readable(entry)),
      next: entries.length > limit ? last : null,
    };
  }

  /** All of them, in the order of their ids. */
  async *all(): AsyncGenerator<Stored<Value>, void, undefined> {
    for (let after: string | null | undefined; after !== null; ) {
      const page: Page<Value> = await this.page({ after, limit: PAGE });
      yield* page.items;
      after = page.next;
    }
  }

  /** @returns false where there is one already */
  async add(id: string, value: Value, options: Pick<Change, 'ttlMs'> = {}): Promise<boolean> {
    const revision = await this.store.commit([this.change(id, value, { ...options, expects: ABSENT })]);
    return revision !== undefined;
  }

  /**
   * Makes something else of what is there, also while others do.
   *
   * @param work is called again with what is there then; `undefined` leaves it as it is
   * @returns what is there now, or nothing where there is nothing
   */
  async update(id: string, work: (value: Value) => Value | undefined): Promise<Value | undefined> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const stored = await this.get(id);
      const value = stored && work(stored.value);
      if (stored === undefined || value === undefined) return stored?.value;
      if (await this.store.commit([this.change(id, value, { expects: stored.revision })])) return value;
    }
    throw new DrakkarError('busy', `others change ${this.prefix}${id} all the time`);
  }

  async remove(id: string): Promise<void> {
    await this.store.commit([this.change(id, null)]);
  }

  #readable(entry: Entry): Stored<Value>[] {
    if (this.#onUnreadable === undefined) return [this.#read(entry)];
    try {
      return [this.#read(entry)];
    } catch (error) {
      this.#onUnreadable(entry.key, error);
      return [];
    }
  }

  #read({ key, value, revision }: Entry): Stored<Value> {
    const result = this.#schema.safeParse(JSON.parse(value));
    if (result.success) return { id: key.slice(this.prefix.length), value: result.data, revision };
    throw new DrakkarError('unsupported', `what is kept under ${key} is not what this version knows`, {
      hint: 'a later version may have written it: install that one again',
      cause: result.error,
    });
  }
}
