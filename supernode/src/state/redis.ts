import { setTimeout as sleep } from 'node:timers/promises';
import { DrakkarError } from '@drakkar/protocol';
import { Redis } from 'ioredis';
import { boundsOf, checkChanges, checkKey } from './checks.ts';
import {
  type Change,
  type ChangedKeys,
  type Check,
  type Entry,
  type ListOptions,
  STATE_LIMITS,
  type StateStore,
  SWEEP_MS,
} from './contract.ts';
import { RedisAway } from './redis-away.ts';
import { COMMIT, COPY_CHANGED, COPY_PAGE, GET, LIST, SCRIPT_KEYS, SWEEP } from './redis-scripts.ts';
import { Watchers } from './watchers.ts';

export interface RedisStateOptions {
  /** `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS. */
  readonly url: string;
  /** Stands in front of all keys: clusters that share a Redis have different ones. */
  readonly keyPrefix: string;
}

const CONNECT_MS = 5_000;
const COMMAND_MS = 5_000;
const MOST_RETRY_MS = 2_000;
/** How long one question for changes waits for some. */
const BLOCK_MS = 1_000;
const CHANGES_AT_ONCE = 100;
const COPIED_AT_ONCE = 200;
const COPIED_BYTES = 4 * 1024 * 1024;

/** The state of several supernodes, in a Redis that they share. How well it survives a power cut is for that Redis's configuration to say. */
export class RedisState implements StateStore {
  readonly #redis: Redis;
  /** Waits for changes, and nothing else. */
  readonly #reader: Redis;
  readonly #away: RedisAway;
  readonly #keys: readonly string[];
  readonly #watchers = new Watchers();
  readonly #ending = new AbortController();
  readonly #sweeping: NodeJS.Timeout;
  readonly #reading: Promise<void>;

  private constructor(
    redis: Redis,
    reader: Redis,
    { keyPrefix, away }: { readonly keyPrefix: string; readonly away: RedisAway },
  ) {
    this.#away = away;
    this.#redis = redis;
    this.#reader = reader;
    this.#keys = SCRIPT_KEYS.map((name) => `{${keyPrefix}}:${name}`);
    this.#sweeping = setInterval(() => void this.#run(SWEEP, []).catch(() => {}), SWEEP_MS).unref();
    this.#reading = this.#read();
  }

  /** @throws `unavailable` where it does not answer, or refuses the password */
  static async open({ url, keyPrefix }: RedisStateOptions): Promise<RedisState> {
    const connect = (commandTimeout: number) =>
      new Redis(url, {
        lazyConnect: true,
        connectTimeout: CONNECT_MS,
        commandTimeout,
        // What can't be said now is an error now: whoever says it knows whether to say it again.
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        autoResendUnfulfilledCommands: false,
        retryStrategy: (times) => Math.min(50 * times, MOST_RETRY_MS),
      });
    const [redis, reader] = [connect(COMMAND_MS), connect(COMMAND_MS + BLOCK_MS)];
    const away = new RedisAway();
    for (const connection of [redis, reader]) away.watch(connection);
    try {
      await Promise.all([redis.connect(), reader.connect()]);
    } catch (cause) {
      for (const connection of [redis, reader]) connection.disconnect();
      throw away.error(cause);
    }
    return new RedisState(redis, reader, { keyPrefix, away });
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key);
    const stored = await this.#run(GET, [key]);
    return typeof stored === 'string' ? entryOf(key, stored) : undefined;
  }

  async list(prefix: string, options: ListOptions): Promise<Entry[]> {
    const { from, to } = boundsOf(prefix, options);
    const direction = options.reverse === true ? 'backward' : 'forward';
    const limit = Math.min(options.limit, STATE_LIMITS.entries);
    const found = (await this.#run(LIST, [direction, from, to, limit])) as string[];
    return found.flatMap((key, index) => (index % 2 === 0 ? entryOf(key, found[index + 1] ?? '') : []));
  }

  async commit(changes: readonly Change[], checks: readonly Check[] = []): Promise<number | undefined> {
    checkChanges(changes, checks);
    const words = changes.flatMap(({ key, value, expects, ttlMs }) => [
      value === null ? 'remove' : 'put',
      key,
      value ?? '',
      expects ?? '',
      ttlMs ?? '',
    ]);
    const checked = checks.flatMap(({ key, expects }) => ['check', key, '', expects, '']);
    return Number(await this.#run(COMMIT, [...checked, ...words])) || undefined;
  }

  watch(prefix: string, listener: (keys: ChangedKeys) => void): Disposable {
    return this.#watchers.add(prefix, listener);
  }

  /**
   * What makes it anew elsewhere, as it is at one moment: of two changes of a key the later one counts.
   *
   * @throws `busy` where it changes faster than it can be read
   */
  async *everything(): AsyncGenerator<Change, void, undefined> {
    const [begun] = await this.#redis.xrevrange(this.#stream, '+', '-', 'COUNT', 1).catch((cause) => {
      throw this.#away.error(cause);
    });
    // Nothing was ever kept here.
    if (begun === undefined) return;
    for (let after: string | undefined = ''; after !== undefined; ) {
      const page = copied(await this.#run(COPY_PAGE, [after, COPIED_AT_ONCE, COPIED_BYTES]));
      yield* page;
      after = page.at(-1)?.key;
    }
    // What was changed meanwhile, all of it at once: so it is all of one moment.
    const changed = await this.#run(COPY_CHANGED, [begun[0]]);
    if (changed === null) {
      throw new DrakkarError('busy', 'the state in Redis changes faster than it can be read', {
        hint: 'try again when less is going on',
      });
    }
    yield* copied(changed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeping);
    this.#ending.abort();
    for (const connection of [this.#redis, this.#reader]) connection.disconnect();
    await this.#reading;
  }

  get #stream(): string {
    return this.#keys[SCRIPT_KEYS.indexOf('changes')] ?? '';
  }

  async #run(script: string, words: readonly (string | number)[]): Promise<unknown> {
    try {
      return await this.#redis.eval(script, this.#keys.length, ...this.#keys, ...words);
    } catch (cause) {
      throw this.#away.error(cause);
    }
  }

  /** Tells of changes as they come. Whoever was without a connection does not know what has changed meanwhile. */
  async #read(): Promise<void> {
    const { signal } = this.#ending;
    const stream = this.#stream;
    let last: { readonly id: string; readonly revision: number } | undefined;
    while (!signal.aborted) {
      try {
        if (last === undefined) {
          const [newest] = await this.#reader.xrevrange(stream, '+', '-', 'COUNT', 1);
          last = newest === undefined ? { id: '0-0', revision: 0 } : noticeOf(newest);
          this.#watchers.tell(null);
        }
        const answer = await this.#reader.xread(
          ...(['COUNT', CHANGES_AT_ONCE, 'BLOCK', BLOCK_MS, 'STREAMS', stream, last.id] as const),
        );
        for (const notice of (answer?.[0]?.[1] ?? []).map(noticeOf)) {
          this.#watchers.tell(notice.revision === last.revision + 1 ? notice.keys : null);
          last = notice;
        }
      } catch {
        last = undefined;
        await sleep(SWEEP_MS / 4, undefined, { signal }).catch(() => {});
      }
    }
  }
}

function noticeOf([id, fields]: [id: string, fields: string[]]) {
  const [, revision, , keys = ''] = fields;
  return { id, revision: Number(revision), keys: keys.split(' ') };
}

function copied(answer: unknown): Change[] {
  const words = answer as string[];
  return words.flatMap((key, index): Change[] => {
    if (index % 3 !== 0) return [];
    const [stored = '', ttl = ''] = words.slice(index + 1, index + 3);
    if (stored === '') return [{ key, value: null }];
    const { value } = entryOf(key, stored);
    return [ttl === '' ? { key, value } : { key, value, ttlMs: Number(ttl) }];
  });
}

function entryOf(key: string, stored: string): Entry {
  const end = stored.indexOf(' ');
  return { key, revision: Number(stored.slice(0, end)), value: stored.slice(end + 1) };
}
