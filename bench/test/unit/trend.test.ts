import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chance, pick, zipf } from '../../src/runner/chance.ts';
import { lateGrowth, slopeOf } from '../../src/runner/trend.ts';

const line = (count: number, valueAt: (index: number) => number) =>
  Array.from({ length: count }, (_, index) => ({ atMs: index * 1_000, value: valueAt(index) }));

test('the slope of a line is the line’s own, with some readings far off', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -50, max: 50 }),
      fc.integer({ min: -1_000, max: 1_000 }),
      fc.integer({ min: 20, max: 60 }),
      (perSecond, start, count) => {
        const isOff = (index: number) => index % 10 === 3;
        const readings = line(count, (index) => (isOff(index) ? 1e9 : start + perSecond * index));
        expect(slopeOf(readings)).toBeCloseTo(perSecond / 1_000, 9);
      },
    ),
  );
});

test('there is no slope of one reading, nor of none', () => {
  expect(slopeOf([])).toBeNaN();
  expect(slopeOf([{ atMs: 1, value: 1 }])).toBeNaN();
});

test('growth is that of the second half', () => {
  expect(lateGrowth(line(100, (index) => Math.min(index, 40)))).toBe(0);
  expect(lateGrowth(line(101, (index) => 100 + index))).toBeCloseTo(50 / 175, 9);
  expect(lateGrowth(line(20, () => 0))).toBe(0);
});

test('chance is the same for the same seed, and even', () => {
  const [one, same, other] = [chance('a'), chance('a'), chance('b')];
  const numbers = Array.from({ length: 5_000 }, () => one());
  expect(Array.from({ length: 5_000 }, () => same())).toEqual(numbers);
  expect(Array.from({ length: 5_000 }, () => other())).not.toEqual(numbers);
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...numbers)).toBeLessThan(1);
  expect(numbers.reduce((sum, number) => sum + number, 0) / numbers.length).toBeCloseTo(0.5, 1);
});

test('shares of Zipf are one together, and of each the next has less', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0.1, max: 3, noNaN: true }),
      (count, s) => {
        const shares = zipf(count, s);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
        for (const [rank, share] of shares.slice(1).entries()) expect(share).toBeLessThan(shares[rank] ?? 0);
      },
    ),
  );
  const [first = 0, second = 0] = zipf(10);
  expect(first / second).toBeCloseTo(2, 9);
});

test('each is picked as often as its share says', () => {
  const shares = [0.5, 0.25, 0.25];
  expect([0, 0.49, 0.5, 0.74, 0.75, 0.999].map((number) => pick(shares, number))).toEqual([0, 0, 1, 1, 2, 2]);
});
