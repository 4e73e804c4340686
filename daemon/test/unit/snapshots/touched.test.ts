import { requireTrace } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Touch } from '../../../src/native.ts';
import { figuresOf, traceOf } from '../../../src/snapshots/touched.ts';

const BLOCK = 65_536;
const touch = (slot: number, offset: number, length: number, wasPresent = false): Touch => ({
  slot,
  offset,
  length,
  wasPresent,
  agoMs: 0,
});

describe('what a start has touched', () => {
  test('is a trace: pages in the order in which they were read first, neighbours together', () => {
    const touches = [touch(1, 8192, 4096), touch(0, 100, 50), touch(1, 12_288, 4096), touch(0, 0, 8192)];
    expect(traceOf(touches)).toEqual([
      { device: 1, offset: 8192, length: 4096 },
      { device: 0, offset: 0, length: 4096 },
      { device: 1, offset: 12_288, length: 4096 },
      { device: 0, offset: 4096, length: 4096 },
    ]);
    expect(traceOf([touch(0, 0, 4096), touch(0, 4096, 4096)])).toEqual([
      { device: 0, offset: 0, length: 8192 },
    ]);
  });

  test('is one that can be told, however much it is', () => {
    const any = fc.record({ slot: fc.nat(63), offset: fc.nat(2 ** 30), length: fc.nat(2 ** 20) });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 50 }), (all) => {
        requireTrace(traceOf(all.map(({ slot, offset, length }) => touch(slot, offset, length))));
      }),
    );
    requireTrace(traceOf(Array.from({ length: 40_000 }, (_, index) => touch(0, index * 8192, 4096))));
  });

  test('was foreseen as far as blocks were there when they were touched first', () => {
    const touches = [
      touch(0, 0, 4096, false),
      touch(0, 8192, 4096, true),
      touch(0, BLOCK, 4096, true),
      touch(1, 0, 2 * BLOCK, true),
    ];
    const prefetched = [
      { device: 0, offset: BLOCK, length: 4096 },
      { device: 1, offset: 0, length: 3 * BLOCK },
    ];
    expect(figuresOf(touches, prefetched, BLOCK)).toEqual({ touchedBlocks: 4, prefetchedBlocks: 4, hits: 3 });
  });
});
