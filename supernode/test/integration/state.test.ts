import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { type RedisServer, startRedis, temporaryDirectory } from '@drakkar/lab';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  ABSENT,
  type ChangedKeys,
  Collection,
  RedisState,
  SqliteState,
  SqliteThread,
  type StateStore,
} from '../../src/state/index.ts';

const SOON = { timeout: 10_000, interval: 20 };
const ended = new AsyncDisposableStack();
let redis: RedisServer;
let directory: string;
let spaces = 0;

beforeAll(async () => {
  redis = ended.use(await startRedis());
  directory = ended.use(await temporaryDirectory('state')).path;
});
afterAll(() => ended[Symbol.asyncDispose]());

/** How a state is opened that nobody has opened before, and how it is opened again. */
const STATES = [
  {
    name: 'SQLite',
    fresh: () => {
      spaces += 1;
      const path = join(directory, `${spaces}.sqlite`);
      return async () => new SqliteState(path);
    },
  },
  {
    name: 'SQLite in a thread',
    fresh: () => {
      spaces += 1;
      const path = join(directory, `${spaces}.sqlite`);
      return async () => new SqliteThread(path);
    },
  },
  {
    name: 'Redis',
    fresh: () => {
      spaces += 1;
      const keyPrefix = `test-${spaces}`;
      return () => RedisState.open({ url: redis.url, keyPrefix });
    },
  },
];

describe.each(STATES)('the state in $name', ({ fresh }) => {
  const open = () => fresh()();

  test('has what was put, under the revision of its commit, and not what was taken away', async () => {
    await using state = await open();
    const first = await state.commit([
      { key: 'a/1', value: 'one' },
      { key: 'a/2', value: '' },
    ]);
    expect(await state.get('a/1')).toEqual({ key: 'a/1', value: 'one', revision: first });
    expect(await state.get('a/2')).toEqual({ key: 'a/2', value: '', revision: first });
    const second = await state.commit([
      { key: 'a/1', value: null },
      { key: 'a/2', value: 'zwei 2 ☃' },
    ]);
    expect(second).toBeGreaterThan(first ?? 0);
    expect(await state.get('a/1')).toBeUndefined();
    expect(await state.get('a/2')).toEqual({ key: 'a/2', value: 'zwei 2 ☃', revision: second });
  });

  test('changes all, or nothing where one thing is not as expected', async () => {
    await using state = await open();
    const revision = await state.commit([{ key: 'k/a', value: 'a', expects: ABSENT }]);
    const other = { key: 'k/b', value: 'b' };
    expect(await state.commit([other, { key: 'k/a', value: 'x', expects: ABSENT }])).toBeUndefined();
    expect(
      await state.commit([other, { key: 'k/a', value: 'x', expects: (revision ?? 0) + 7 }]),
    ).toBeUndefined();
    expect(await state.get('k/b')).toBeUndefined();
    expect(await state.commit([other, { key: 'k/a', value: 'x', expects: revision }])).toBeDefined();
    expect((await state.get('k/a'))?.value).toBe('x');
    expect(await state.commit([{ key: 'k/c', value: null, expects: ABSENT }])).toBeDefined();
  });

  test('lists what is under a prefix, in order, a page at a time, from both ends', async () => {
    await using state = await open();
    const names = ['a', 'aa', 'b', 'b-', 'b/c', 'z', '~'];
    await state.commit(names.map((name) => ({ key: `p/${name}`, value: name })));
    await state.commit(['o/z', 'p', 'p0', 'q/a'].map((key) => ({ key, value: key })));
    const list = async (options: Parameters<StateStore['list']>[1]) =>
      (await state.list('p/', options)).map(({ value }) => value);
    const sorted = [...names].sort();
    expect(await list({ limit: 100 })).toEqual(sorted);
    expect(await list({ limit: 3 })).toEqual(sorted.slice(0, 3));
    expect(await list({ limit: 3, after: `p/${sorted[2]}` })).toEqual(sorted.slice(3, 6));
    expect(await list({ limit: 2, reverse: true })).toEqual(sorted.toReversed().slice(0, 2));
    expect(await list({ limit: 9, reverse: true, after: 'p/b' })).toEqual(['aa', 'a']);
    expect(await list({ limit: 9, after: 'a' })).toEqual(sorted);
    expect(await list({ limit: 9, after: 'q' })).toEqual([]);
  });

  test('lets go by itself of what was not to stay, and says so', async () => {
    await using state = await open();
    const told: ChangedKeys[] = [];
    await state.commit([
      { key: 'lease/a', value: 'a', ttlMs: 300 },
      { key: 'lease/b', value: 'b', ttlMs: 60_000 },
    ]);
    using _ = state.watch('lease/', (keys) => void told.push(keys));
    await expect.poll(() => state.get('lease/a'), SOON).toBeUndefined();
    expect(await state.commit([{ key: 'lease/a', value: 'c', expects: ABSENT, ttlMs: 100 }])).toBeDefined();
    await expect.poll(() => state.list('lease/', { limit: 9 }), SOON).toMatchObject([{ value: 'b' }]);
    await expect.poll(() => told.flat().filter((key) => key === 'lease/a').length, SOON).toBeGreaterThan(1);
    // What is put again without an end stays.
    await state.commit([{ key: 'lease/b', value: 'b', ttlMs: 100 }]);
    await state.commit([{ key: 'lease/b', value: 'b' }]);
    await delay(200);
    expect(await state.get('lease/b')).toBeDefined();
  });

  test('tells whoever watches a prefix of what has changed there', async () => {
    await using state = await open();
    const told: string[] = [];
    await state.commit([{ key: 'w/0', value: '' }]);
    using _ = state.watch('w/', (keys) => void told.push(...(keys ?? [])));
    await state.commit([{ key: 'other/1', value: '' }]);
    await state.commit([
      { key: 'w/1', value: '' },
      { key: 'other/2', value: '' },
    ]);
    await state.commit([{ key: 'w/1', value: null }]);
    await expect.poll(() => told.slice(-2), SOON).toEqual(['w/1', 'w/1']);
    expect(told).not.toContain('other/1');
  });

  test('refuses what is too much, and keys that are none', async () => {
    await using state = await open();
    const long = 'x'.repeat(4 * 1024 * 1024 + 1);
    await expect(state.commit([{ key: 'a', value: long }])).rejects.toMatchObject({ code: 'limit_exceeded' });
    for (const key of ['', 'with blank', 'ü', 'x'.repeat(513)])
      await expect(state.commit([{ key, value: '' }])).rejects.toMatchObject({ code: 'invalid_argument' });
    const many = Array.from({ length: 1001 }, (_, index) => ({ key: `k/${index}`, value: '' }));
    await expect(state.commit(many)).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  test('has after it was closed what it had before', async () => {
    const reopen = fresh();
    {
      await using state = await reopen();
      await state.commit([{ key: 'a/b', value: 'c' }]);
    }
    await using state = await reopen();
    const before = await state.get('a/b');
    expect(before?.value).toBe('c');
    expect(await state.commit([{ key: 'a/c', value: '' }])).toBeGreaterThan(before?.revision ?? Infinity);
  });

  test('lets many change one document at once, and loses none of it', async () => {
    await using state = await open();
    const counters = new Collection(state, 'counters', z.object({ count: z.int() }));
    await counters.add('one', { count: 0 });
    expect(await counters.add('one', { count: 7 })).toBe(false);
    const increment = () => counters.update('one', ({ count }) => ({ count: count + 1 }));
    await Promise.all(Array.from({ length: 5 }, increment));
    expect((await counters.get('one'))?.value).toEqual({ count: 5 });
    expect(await counters.update('two', () => ({ count: 1 }))).toBeUndefined();
  });

  test('gives all documents of a kind, page by page', async () => {
    await using state = await open();
    const numbers = new Collection(state, 'numbers', z.int());
    const ids = Array.from({ length: 1200 }, (_, index) => String(index).padStart(4, '0'));
    for (const part of [ids.slice(0, 600), ids.slice(600)])
      await state.commit(part.map((id) => numbers.change(id, Number(id))));
    expect((await Array.fromAsync(numbers.all())).map(({ id }) => id)).toEqual(ids);
    expect(await numbers.page({ limit: 2, reverse: true })).toMatchObject({
      items: [{ id: '1199' }, { id: '1198' }],
      next: '1198',
    });
    expect((await numbers.page({ limit: 2, after: '1197' })).next).toBeNull();
    await state.commit([{ key: 'numbers/x', value: '"words"' }]);
    await expect(numbers.get('x')).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('is like a map, whatever is done to it', async () => {
    const key = fc.constantFrom('a/1', 'a/2', 'a/3', 'b/1');
    const change = fc.record({ key, value: fc.option(fc.string()), expects: fc.option(fc.nat(3)) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
        async (commits) => {
          await using state = await open();
          const model = new Map<string, { value: string; age: number }>();
          const revisions: number[] = [ABSENT];
          for (const changes of commits) {
            // Expectations are counted from the last commits back.
            const wanted = changes.map(({ expects, ...rest }) => ({
              ...rest,
              expects: expects === null ? undefined : (revisions.at(-1 - expects) ?? ABSENT),
            }));
            const holds = wanted.every(
              ({ key, expects }) => expects === undefined || (model.get(key)?.age ?? ABSENT) === expects,
            );
            const revision = await state.commit(wanted);
            expect(revision !== undefined).toBe(holds);
            if (revision === undefined) continue;
            revisions.push(revision);
            for (const { key, value } of wanted)
              if (value === null) model.delete(key);
              else model.set(key, { value, age: revision });
          }
          const kept = await state.list('a/', { limit: 10 });
          const expected = [...model].filter(([name]) => name.startsWith('a/')).sort();
          expect(kept.map(({ key: name, value, revision }) => [name, { value, age: revision }])).toEqual(
            expected,
          );
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('the state in Redis', () => {
  test('is one for all who open it', async () => {
    const open = STATES.at(-1)?.fresh() as () => Promise<StateStore>;
    await using first = await open();
    await using second = await open();
    const told: ChangedKeys[] = [];
    using _ = second.watch('x/', (keys) => void told.push(keys));
    await expect
      .poll(async () => {
        await first.commit([{ key: 'x/y', value: 'z' }]);
        return told.some((keys) => keys?.includes('x/y'));
      }, SOON)
      .toBe(true);
    expect((await second.get('x/y'))?.value).toBe('z');
  });

  test('says that it is away while it is, and is there again with what it had; who watches is told to look anew', async () => {
    await using server = await startRedis();
    await using state = await RedisState.open({ url: server.url, keyPrefix: 'away' });
    await state.commit([{ key: 'a', value: 'kept' }]);
    const told: ChangedKeys[] = [];
    using _ = state.watch('a', (keys) => void told.push(keys));
    await server.kill();
    const { host } = new URL(server.url);
    const away = {
      code: 'unavailable',
      message: expect.stringContaining(`Redis does not answer at ${host}`),
    };
    await expect(state.get('a')).rejects.toMatchObject(away);
    await expect(RedisState.open({ url: server.url, keyPrefix: 'away' })).rejects.toMatchObject(away);
    await server.start();
    await expect.poll(() => state.get('a').catch(() => undefined), SOON).toMatchObject({ value: 'kept' });
    await expect.poll(() => told.includes(null), SOON).toBe(true);
  });

  test('says that a password is wrong, and not which', async () => {
    await using server = await startRedis();
    const { host } = new URL(server.url);
    const own = new Redis(server.url);
    await own.call('ACL', 'SETUSER', 'default', '>the right one');
    own.disconnect();
    for (const user of ['', ':secret@']) {
      const refused = await RedisState.open({ url: `redis://${user}${host}`, keyPrefix: 'locked' }).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refused).toMatchObject({
        code: 'unavailable',
        message: `Redis refuses the password at ${host}`,
      });
      expect(inspect(refused, { depth: null })).not.toContain('secret');
    }
  });
});

describe('a copy of the state in Redis', () => {
  test('is of one moment, whatever is changed while it is made', async () => {
    const keyPrefix = 'copied';
    await using state = await RedisState.open({ url: redis.url, keyPrefix });
    await using other = await RedisState.open({ url: redis.url, keyPrefix });
    const pair = (at: number, value: number) => [
      { key: `a/${at}`, value: `${value}` },
      { key: `b/${at}`, value: `${value}` },
    ];
    const PAIRS = 1_500;
    for (let at = 0; at < PAIRS; at += 250)
      await state.commit(Array.from({ length: 250 }, (_, index) => pair(at + index, 0)).flat());
    await state.commit([
      { key: 'kept/soon', value: 'x', ttlMs: 1_000_000 },
      { key: 'kept/never', value: 'x', ttlMs: 1 },
    ]);
    const ending = new AbortController();
    const changing = (async () => {
      for (let value = 1; !ending.signal.aborted; value += 1) {
        const at = (value * 7) % PAIRS;
        const isRemoved = value % 5 === 0;
        await other.commit(
          pair(at, value).map((change) => (isRemoved ? { ...change, value: null } : change)),
        );
      }
    })();
    const copy = new Map<string, { readonly value: string; readonly ttlMs?: number | undefined }>();
    for await (const { key, value, ttlMs } of state.everything()) {
      if (value === null) copy.delete(key);
      else copy.set(key, { value, ttlMs });
    }
    ending.abort();
    await changing;
    let isChanged = false;
    for (let at = 0; at < PAIRS; at += 1) {
      expect(copy.get(`a/${at}`)?.value, `${at}`).toBe(copy.get(`b/${at}`)?.value);
      isChanged ||= copy.get(`a/${at}`)?.value !== '0';
    }
    expect(isChanged).toBe(true);
    expect(copy.get('kept/soon')?.ttlMs).toBeGreaterThan(0);
    expect(copy.get('kept/soon')?.ttlMs).toBeLessThanOrEqual(1_000_000);
    expect(copy.has('kept/never')).toBe(false);
  });

  test('of nothing is nothing', async () => {
    await using state = await RedisState.open({ url: redis.url, keyPrefix: 'nothing' });
    expect(await Array.fromAsync(state.everything())).toEqual([]);
  });
});

test('a file of a later version is left alone', async () => {
  const path = join(directory, 'later.sqlite');
  await new SqliteState(path)[Symbol.asyncDispose]();
  const { DatabaseSync } = await import('node:sqlite');
  using later = new DatabaseSync(path);
  later.exec('PRAGMA user_version = 99');
  expect(() => new SqliteState(path)).toThrow(expect.objectContaining({ code: 'unsupported' }));
});
