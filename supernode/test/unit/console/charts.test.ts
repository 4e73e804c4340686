import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { areaPath, linePath, niceCeiling } from '../../../console/src/model/chart.ts';
import { barsOf, placeOf } from '../../../console/src/model/histogram.ts';
import { cellsOf, coverage, runsOf } from '../../../console/src/model/pieces.ts';
import { residencyRows } from '../../../console/src/model/residency.ts';

test('an axis ends at a round number that is not below the highest value', () => {
  expect([0, 1, 1.2, 23, 480, 1_030_000_000].map(niceCeiling)).toEqual([1, 1, 2, 25, 500, 2e9]);
  fc.assert(
    fc.property(fc.double({ min: 1e-3, max: 1e18, noNaN: true }), (value) => {
      expect(niceCeiling(value)).toBeGreaterThanOrEqual(value * (1 - 1e-6));
      expect(niceCeiling(value)).toBeLessThanOrEqual(value * 2.5 * (1 + 1e-6));
    }),
  );
});

test('a line of no points is no line', () => {
  expect([linePath([]), areaPath([], 9)]).toEqual(['', '']);
  expect(
    areaPath(
      [
        { x: 0, y: 1 },
        { x: 2, y: 3 },
      ],
      9,
    ),
  ).toBe('M0.0 1.0L2.0 3.0L2.0 9L0.0 9Z');
});

describe('start times', () => {
  const buckets = [
    { toMs: 100, count: 1 },
    { toMs: 200, count: 3 },
    { toMs: null, count: 0 },
  ];

  test('are bars with words for their ends', () => {
    expect(barsOf(buckets)).toEqual([
      { from: '0', to: '100 ms', count: 1, share: 0.25 },
      { from: '100 ms', to: '200 ms', count: 3, share: 0.75 },
      { from: '200 ms', to: '∞', count: 0, share: 0 },
    ]);
    expect(barsOf([{ toMs: 1_500, count: 1 }])[0]?.to).toBe('1.5 s');
  });

  test('stand among the bars where they belong', () => {
    expect([0, 50, 150, 200, 9_999].map((ms) => placeOf(ms, buckets))).toEqual([0, 0.5, 1.5, 2, 2.5]);
  });
});

describe('a piece map', () => {
  test('begins with its lowest bit', () => {
    const cells = cellsOf('8000000000000003');
    expect(runsOf(cells)).toEqual([
      { from: 0, length: 2 },
      { from: 63, length: 1 },
    ]);
    expect(runsOf(cellsOf('f'.repeat(16)))).toEqual([{ from: 0, length: 64 }]);
  });

  test('that is not known has no cells', () => {
    for (const map of [null, '', 'xyz', 'f'.repeat(17)])
      expect(cellsOf(map)).toEqual(new Array(64).fill(false));
  });

  test('counts with others how many hosts have each part', () => {
    const counts = coverage(['0000000000000001', 'f'.repeat(16), null]);
    expect(counts[0]).toBe(2);
    expect(counts.slice(1)).toEqual(new Array(63).fill(1));
  });
});

test('hosts that have most of a snapshot come first', () => {
  const part = (slot: number, sizeBytes: number, hosts: [string, number][]) => ({
    ...{ kind: 'device' as const, slot, digest: `d${slot}`, sizeBytes, pieces: 1, sharedWith: [] },
    hosts: hosts.map(([name, residency]) => ({ peer: name, name, residency })),
  });
  expect(
    residencyRows([
      part(0, 100, [['a', 1]]),
      part(1, 300, [
        ['b', 1],
        ['a', 0.1],
      ]),
    ]),
  ).toEqual([
    { peer: 'b', name: 'b', parts: [0, 1], total: 0.75 },
    { peer: 'a', name: 'a', parts: [1, 0.1], total: 0.325 },
  ]);
});
