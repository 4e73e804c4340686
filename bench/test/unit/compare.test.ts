import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compare, intervalOf } from '../../src/runner/compare.ts';
import { earlierRuns } from '../../src/runner/results.ts';

const series = (name: string, ...walls: number[]) => ({ name, samples: walls.map((wallMs) => ({ wallMs })) });
const run = (...all: ReturnType<typeof series>[]) => ({ name: 'start', series: all });

describe('two runs of a benchmark', () => {
  test('differ where their medians do beyond chance', () => {
    const before = run(series('drakkar', 100, 101, 102, 103, 104, 105));
    const verdict = (...walls: number[]) => compare(before, run(series('drakkar', ...walls)))[0]?.verdict;
    expect(verdict(90, 91, 92, 93, 94, 95)).toBe('better');
    expect(verdict(110, 111, 112, 113, 114, 115)).toBe('worse');
    expect(verdict(99, 100, 101, 103, 104, 106)).toBe('same');
    expect(verdict(110, 111, 112, 113, 114, 100)).toBe('same');
  });

  test('on machines of other speeds are compared by what was measured beside', () => {
    const before = run(series('nginx', 100, 100, 100), series('drakkar', 50, 50, 50, 50, 50, 50));
    const slower = run(series('nginx', 200, 200, 200), series('drakkar', 100, 100, 100, 100, 100, 100));
    expect(compare(before, slower).map(({ ratio, verdict }) => [ratio, verdict])).toEqual([
      [1, 'same'],
      [1, 'same'],
    ]);
  });

  test('are compared by the clock where there is nothing beside', () => {
    const before = run(series('slowest host', 100, 100, 100, 100, 100, 100));
    const slower = run(series('slowest host', 200, 200, 200, 200, 200, 200));
    expect(compare(before, slower).map(({ ratio, verdict }) => [ratio, verdict])).toEqual([[2, 'worse']]);
  });

  test('are compared in what both have measured', () => {
    expect(compare(run(series('a', 1)), run(series('b', 1), series('a')))).toEqual([]);
  });
});

test('the interval of a median has the median in it, and gets narrower with more samples', () => {
  const values = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(values, (some) => {
      const { least, most } = intervalOf(some);
      const sorted = some.toSorted((a, b) => a - b);
      expect(least).toBeLessThanOrEqual(sorted[Math.floor((sorted.length - 1) / 2)] ?? 0);
      expect(most).toBeGreaterThanOrEqual(sorted[Math.ceil((sorted.length - 1) / 2)] ?? 0);
    }),
  );
  // Source: tables of the sign test, 95 %: of 6 all, of 10 the 2nd to the 9th, of 100 the 40th to the 61st.
  const upTo = (count: number) => intervalOf(Array.from({ length: count }, (_, index) => index + 1));
  expect(upTo(6)).toEqual({ least: 1, most: 6 });
  expect(upTo(10)).toEqual({ least: 2, most: 9 });
  expect(upTo(100)).toEqual({ least: 40, most: 61 });
});

test('what is kept is what can be compared with', async () => {
  const runs = await earlierRuns(join(import.meta.dirname, '../../results'));
  const start = runs.get('start');
  expect(
    start && compare(start, start).every(({ ratio, verdict }) => ratio === 1 && verdict === 'same'),
  ).toBe(true);
});
