import { expect, test } from 'vitest';
import { Tokens } from '../../../src/api/tokens.ts';
import { SqliteState } from '../../../src/state/index.ts';

test('tokens come in pages, and go on after one that is gone', async () => {
  await using state = new SqliteState(':memory:');
  using tokens = await Tokens.open(state);
  for (let number = 0; number < 5; number += 1)
    await tokens.create(
      { name: `t${number}`, role: 'viewer', expiresAtMs: null },
      'test',
      Date.now() + number,
    );
  const first = tokens.page({ limit: 2 });
  expect(first.items.map(({ name }) => name)).toEqual(['t0', 't1']);
  await tokens.revoke(first.next ?? '');
  const second = tokens.page({ after: first.next ?? '', limit: 3 });
  expect(second.items.map(({ name }) => name)).toEqual(['t2', 't3', 't4']);
  expect(second.next).toBeNull();
});

test('tokens that have ended long ago are gone', async () => {
  await using state = new SqliteState(':memory:');
  const nowMs = Date.now();
  const day = 24 * 60 * 60_000;
  await state.commit(
    [-2 * day, -day / 2, day].map((left, number) => ({
      key: `tokens/${number}`,
      value: JSON.stringify({
        ...{ id: String(number), name: `t${number}`, role: 'viewer', secretHash: '', createdBy: 'test' },
        ...{ createdAtMs: 0, expiresAtMs: nowMs + left },
      }),
    })),
  );
  using tokens = await Tokens.open(state);
  expect(tokens.list().map(({ name }) => name)).toEqual(['t1', 't2']);
  expect(await state.get('tokens/0')).toBeUndefined();
});
