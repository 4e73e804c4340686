import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachOf } from '../../src/runner/parallel.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('each item has its turn once, in order, and never more than are allowed at the same time', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat()), fc.integer({ min: 1, max: 5 }), async (items, atATime) => {
      const begun: number[] = [];
      let running = 0;
      await eachOf(items, atATime, async (item) => {
        begun.push(item);
        running += 1;
        expect(running).toBeLessThanOrEqual(atATime);
        await turn();
        running -= 1;
      });
      expect(begun).toEqual(items);
      expect(running).toBe(0);
    }),
  );
});

test('after a failure nothing more is begun, and what had begun is waited for', async () => {
  const begun: number[] = [];
  let ended = 0;
  const failing = eachOf([0, 1, 2, 3], 2, async (item) => {
    begun.push(item);
    await turn();
    if (item === 0) throw new Error('no');
    await turn();
    ended += 1;
  });
  await expect(failing).rejects.toThrow('no');
  expect(begun).toEqual([0, 1]);
  expect(ended).toBe(1);
});
