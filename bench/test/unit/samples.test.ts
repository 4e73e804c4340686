import { atLeast, atMost, median, ratio, takeSamples } from '@drakkar/bench';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { movedBetween } from '../../src/fleet/moved.ts';
import { medianOf, quantile } from '../../src/runner/samples.ts';
import { childTimesMs } from '../../src/scenarios/build.ts';

test('the median is the middle, and lies between the extremes', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
      expect(median(values)).toBeGreaterThanOrEqual(Math.min(...values));
      expect(median(values)).toBeLessThanOrEqual(Math.max(...values));
    }),
  );
});

test('a quantile is one of the values, and no larger share lies below it', () => {
  expect(quantile([], 0.5)).toBeNaN();
  fc.assert(
    fc.property(
      fc.array(fc.integer(), { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, share) => {
        const value = quantile(values, share);
        expect(values).toContain(value);
        expect(values.filter((other) => other < value).length).toBeLessThanOrEqual(values.length * share);
      },
    ),
  );
});

test('the median of a series is found by its name, and there is none of one that was not measured', () => {
  const series = [{ name: 'a', samples: [{ wallMs: 1 }, { wallMs: 3, cpuMs: 5 }] }];
  expect(medianOf(series, 'a', ({ wallMs }) => wallMs)).toBe(2);
  expect(medianOf(series, 'a', ({ cpuMs }) => cpuMs)).toBe(5);
  expect(medianOf(series, 'b', ({ wallMs }) => wallMs)).toBeNaN();
});

test('what moved is what came in between, of each source that was counted', () => {
  expect(movedBetween({ linkBytes: 5 }, { linkBytes: 8 })).toEqual({ linkBytes: 3 });
  const [before, after] = [
    { linkBytes: 5, upstreamBytes: 1, peerBytes: 2 },
    { linkBytes: 50, upstreamBytes: 4, peerBytes: 20 },
  ];
  expect(movedBetween(before, after)).toEqual({ linkBytes: 45, upstreamBytes: 3, peerBytes: 18 });
});

test('contenders run in turn', async () => {
  const order: string[] = [];
  const contender = (name: string, wallMs: number) => ({
    name,
    measure: async (round: number) => {
      order.push(`${name}${round}`);
      return { wallMs };
    },
  });
  const series = await takeSamples([contender('a', 10), contender('b', 20)], 2, () => {});
  expect(order).toEqual(['a0', 'b0', 'a1', 'b1']);
  const [a, b] = series;
  expect(a && b && ratio(b, a, ({ wallMs }) => wallMs)).toBe(2);
});

test('a claim holds up to and with its target', () => {
  expect(atMost('x', 1, '×', 1).holds).toBe(true);
  expect(atMost('x', 1.01, '×', 1).holds).toBe(false);
  expect(atLeast('x', Number.NaN, '×', 1).holds).toBe(false);
});

test('the shell’s times are read', () => {
  expect(childTimesMs('0m0.010s 0m0.020s\n1m2.500s 0m0.250s\n')).toBe(62_750);
});
