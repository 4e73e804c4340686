import { digestOf } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { boundsOf, presenceOf, requireFits } from '../../../src/measurements/bounds.ts';

const BOUNDS = { mostBytes: 1_000, withinMs: 5_000 };

describe('a host', () => {
  test('lets nobody measure it unless its configuration says so', () => {
    expect(() => boundsOf(BOUNDS, { ...BOUNDS, allowed: false })).toThrow(
      expect.objectContaining({ code: 'forbidden', hint: expect.stringContaining('measurements.allowed') }),
    );
    expect(boundsOf({ mostBytes: 10, withinMs: null }, { ...BOUNDS, allowed: true })).toEqual({
      mostBytes: 10,
      withinMs: 5_000,
    });
  });

  test.each([{ mostBytes: 999 }, { withinMs: 4_999 }])('allows no more than it is told to: %o', (less) => {
    expect(() => boundsOf(BOUNDS, { ...BOUNDS, allowed: true, ...less })).toThrow(
      expect.objectContaining({ code: 'limit_exceeded' }),
    );
  });

  test('refuses what is too much, and what others’ content would have to go for', () => {
    expect(() => requireFits(1_000, 1_000, 1_000)).not.toThrow();
    expect(() => requireFits(1_001, 1_000, 5_000)).toThrow(
      expect.objectContaining({ code: 'limit_exceeded' }),
    );
    expect(() => requireFits(1_000, 1_000, 999)).toThrow(expect.objectContaining({ code: 'no_space' }));
    expect(() => requireFits(0, 1_000, -5)).not.toThrow();
  });
});

test('what was here counts each blob once, and no more of it than it has', () => {
  const [one, two, three] = ['one', 'two', 'three'].map((text) => digestOf(text)) as [never, never, never];
  const parts = [
    { digest: one, size: 100 },
    { digest: one, size: 100 },
    { digest: two, size: 50 },
    { digest: three, size: 7 },
  ];
  const before = new Map([
    [one, 40],
    [two, 60],
  ]);
  expect(presenceOf(parts, before)).toEqual({ sizeBytes: 157, hereBytes: 90 });
  expect(presenceOf([], before)).toEqual({ sizeBytes: 0, hereBytes: 0 });
});
