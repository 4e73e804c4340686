import { MemoryFleet } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { Orphans } from '../../../src/controller/orphans.ts';

test('orders of those that are gone end, also where that fails at first', async () => {
  const fleet = new MemoryFleet();
  fleet.isStuck = true;
  const build = { kind: 'build', image: 'a', platform: 'linux/amd64' } as const;
  for (const owner of ['here', 'gone'])
    for (const name of ['one', 'two']) await fleet.begin(owner, name, build);
  const end = fleet.end.bind(fleet);
  const failed: unknown[] = [];
  fleet.end = async (owner, name) => {
    if (name === 'two' && failed.length === 0) throw new Error('the state is away');
    await end(owner, name);
  };
  await using orphans = new Orphans({
    ...{ fleet, isThere: (owner) => owner === 'here' },
    log: { info: () => {}, warn: (context) => void failed.push(context) },
  });
  orphans.look();
  await expect.poll(() => [...fleet.owners()]).toEqual(['here']);
  expect(failed).toHaveLength(1);
  expect([...fleet.ordersOf('here').keys()]).toEqual(['one', 'two']);
});
