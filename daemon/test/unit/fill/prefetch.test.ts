import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blocksToPrefetch } from '../../../src/fill/index.ts';

const range = fc.record({
  device: fc.integer({ min: -1, max: 4 }),
  offset: fc.integer({ min: -10_000, max: 100_000 }),
  length: fc.integer({ min: 0, max: 50_000 }),
});

describe('a prefetch list', () => {
  test('is blocks in its order, each once', () => {
    const list = [
      { device: 1, offset: 8192, length: 4096 },
      { device: 0, offset: 0, length: 4097 },
      { device: 1, offset: 0, length: 12_288 },
    ];
    expect(blocksToPrefetch(list, [3, 3], 4096)).toEqual([
      [0, 1],
      [2, 0, 1],
    ]);
  });

  test('of whatever ranges names only blocks that there are', () => {
    fc.assert(
      fc.property(fc.array(range), fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }), (list, counts) => {
        const blocks = blocksToPrefetch(list, counts, 4096);
        expect(blocks).toHaveLength(counts.length);
        for (const [slot, own] of blocks.entries()) {
          expect(new Set(own).size).toBe(own.length);
          expect(own.every((block) => block >= 0 && block < (counts[slot] ?? 0))).toBe(true);
        }
      }),
    );
  });
});
