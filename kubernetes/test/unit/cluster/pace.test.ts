import { expect, test } from 'vitest';
import { Pace } from '../../../src/cluster/pace.ts';

test('requests have their turns: a burst at once, and then so many a second', () => {
  const pace = new Pace(10, 5);
  const waits = (nowMs: number, count: number) => Array.from({ length: count }, () => pace.turn(nowMs));
  expect(waits(10_000, 8)).toEqual([0, 0, 0, 0, 0, 100, 200, 300]);
  // Those that wait have their places.
  expect(waits(10_200, 2)).toEqual([200, 300]);
  expect(waits(20_000, 6)).toEqual([0, 0, 0, 0, 0, 100]);
});
