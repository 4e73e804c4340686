import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Pace } from '../../../src/jobs/pace.ts';

/** Begins as many as it may, each ten milliseconds. */
function begunWithin(pace: Pace, fromMs: number, forMs: number): number {
  let begun = 0;
  for (let nowMs = fromMs; nowMs < fromMs + forMs; nowMs += 10)
    for (let room = pace.room(nowMs); room > 0; room -= 1) {
      pace.begun();
      begun += 1;
    }
  return begun;
}

test('tasks are begun more slowly while others must wait, and faster while nobody does', () => {
  const pace = new Pace(0);
  const first = begunWithin(pace, 0, 1_000);
  for (let count = 0; count < 50; count += 1) pace.lagged(200);
  const busy = begunWithin(pace, 1_000, 1_000);
  for (let count = 0; count < 200; count += 1) pace.lagged(1);
  const idle = begunWithin(pace, 2_000, 1_000);
  expect(busy).toBeLessThan(first);
  expect(idle).toBeGreaterThan(first);
});

test('there is room at any time again, whatever was before, and never for thousands at once', () => {
  const lags = fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { maxLength: 200 });
  fc.assert(
    fc.property(lags, fc.nat(10_000), (all, extra) => {
      const pace = new Pace(0);
      for (const lagMs of all) pace.lagged(lagMs);
      for (let count = 0; count < extra; count += 1) pace.begun();
      expect(pace.room(0)).toBeLessThanOrEqual(100);
      expect(pace.room(3_600_000)).toBeGreaterThan(0);
      expect(pace.room(7_200_000)).toBeLessThanOrEqual(100);
    }),
  );
});
