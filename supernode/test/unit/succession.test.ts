import { expect, test } from 'vitest';
import { Succession } from '../../src/kubernetes/succession.ts';
import { FencedState, SqliteState } from '../../src/state/index.ts';

test('who leads succeeds the one that has led before, once, and nobody does who leads no longer', async () => {
  await using state = new SqliteState(':memory:');
  const led = async (name: string) => {
    const term = await state.commit([{ key: 'term', value: name }]);
    return new Succession(new FencedState(state, { key: 'term', expects: term ?? 0 }), name);
  };
  const one = await led('one');
  await one.hold();
  const two = await led('two');
  expect(await two.succeeds('a stranger')).toBe(false);
  expect(await two.succeeds('one')).toBe(true);
  expect(await two.succeeds('one')).toBe(false);
  const three = await led('three');
  await expect(two.succeeds('two')).rejects.toMatchObject({ code: 'unavailable' });
  expect(await three.succeeds('two')).toBe(true);
});
