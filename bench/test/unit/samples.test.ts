import { atLeast, atMost, drawBars, median, ratio, takeSamples } from '@drakkar/bench';
import fc from 'fast-check';
import { expect, test } from 'vitest';
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

test('a plot is an SVG document, whatever the names', () => {
  const svg = drawBars('a < b & "c"', [{ name: 'drakkar <x>', samples: [{ wallMs: 5 }, { wallMs: 1500 }] }]);
  expect(svg).toMatch(/^<svg [^>]+>[\s\S]*<\/svg>\n$/);
  expect(svg).not.toContain('<x>');
  expect(svg).toContain('753 ms');
});

test('the shell’s times are read', () => {
  expect(childTimesMs('0m0.010s 0m0.020s\n1m2.500s 0m0.250s\n')).toBe(62_750);
});
