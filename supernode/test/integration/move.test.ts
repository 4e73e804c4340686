import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type RedisServer, startRedis, temporaryDirectory } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openState, RedisState, SqliteState } from '../../src/state/index.ts';
import { move } from '../../src/state/move.ts';

const ended = new AsyncDisposableStack();
let redis: RedisServer;
let prefixes = 0;

beforeAll(async () => {
  redis = ended.use(await startRedis());
});
afterAll(() => ended[Symbol.asyncDispose]());

const ALONE = { redis: { url: null, urlFile: null, keyPrefix: 'drakkar' } };

function fresh() {
  prefixes += 1;
  return { redis: { url: redis.url, urlFile: null, keyPrefix: `move-${prefixes}` } };
}

/** The state of one that was alone. */
async function alone(word: string): Promise<string> {
  const { path } = ended.use(await temporaryDirectory('move'));
  await using state = await openState(path, ALONE);
  await state.commit([{ key: 'cluster/joinSecret', value: word }]);
  return path;
}

const wordIn = async (options: ReturnType<typeof fresh>, directory: string) => {
  await using state = await openState(directory, options);
  return (await state.get('cluster/joinSecret'))?.value;
};

describe('a state that moves into Redis', () => {
  test('is there then, and another one that was alone is refused and changes nothing', async () => {
    const options = fresh();
    const [one, other] = [await alone('one'), await alone('other')];
    expect(await wordIn(options, one)).toBe('one');
    await expect(openState(other, options)).rejects.toMatchObject({ code: 'already_exists' });
    expect(await wordIn(options, one)).toBe('one');
    await using kept = await openState(other, ALONE);
    expect((await kept.get('cluster/joinSecret'))?.value).toBe('other');
  });

  test('of two that move at once is one’s', async () => {
    const options = fresh();
    const both = await Promise.all([alone('one'), alone('other')]);
    const outcomes = await Promise.allSettled(both.map((directory) => wordIn(options, directory)));
    const words = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    expect(words).toHaveLength(1);
    const { path } = ended.use(await temporaryDirectory('third'));
    expect(await wordIn(options, path)).toBe(words[0]);
  });

  test('is waited for by those that have none, and goes on where it was cut short', async () => {
    const options = fresh();
    const directory = await alone('one');
    const { path: third } = ended.use(await temporaryDirectory('third'));
    {
      await using own = new SqliteState(join(directory, 'state.sqlite'));
      await using shared = await RedisState.open({ url: redis.url, keyPrefix: options.redis.keyPrefix });
      let commits = 0;
      const cutShort = Object.create(shared, {
        commit: {
          value: (...change: Parameters<typeof shared.commit>) => {
            commits += 1;
            if (commits > 1) throw new Error('killed');
            return shared.commit(...change);
          },
        },
        get: { value: shared.get.bind(shared) },
        list: { value: shared.list.bind(shared) },
      });
      await expect(move(own, cutShort, 'its path')).rejects.toThrow('killed');
    }
    await expect(openState(third, options)).rejects.toMatchObject({ code: 'unavailable' });
    expect(await wordIn(options, directory)).toBe('one');
    expect(await wordIn(options, third)).toBe('one');
  });

  test('that was used alone again is not taken for what has moved', async () => {
    const options = fresh();
    const directory = await alone('one');
    expect(await wordIn(options, directory)).toBe('one');
    const path = join(directory, 'state.sqlite');
    await rename(`${path}.moved`, path);
    {
      await using again = await openState(directory, ALONE);
      await again.commit([{ key: 'cluster/joinSecret', value: 'another' }]);
    }
    await expect(openState(directory, options)).rejects.toMatchObject({ code: 'already_exists' });
  });
});
