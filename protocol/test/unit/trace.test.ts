import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DeviceRange,
  decodeTrace,
  encodeTrace,
  isDrakkarError,
  MAX_TRACE_RANGES,
  mergeTraces,
  requireTrace,
  type Trace,
} from '../../src/index.ts';

const BLOCK = 4096;
const at = (block: number, blocks = 1, device = 0): DeviceRange => ({
  device,
  offset: block * BLOCK,
  length: blocks * BLOCK,
});
const range = fc
  .record({ device: fc.nat(3), block: fc.nat(60), blocks: fc.integer({ min: 1, max: 12 }) })
  .map(({ device, block, blocks }) => at(block, blocks, device));
const trace = fc.array(range, { maxLength: 40 });
const traces = fc.array(trace, { minLength: 1, maxLength: 8 });

const blocksOf = (ranges: Trace): string[] =>
  ranges.flatMap(({ device, offset, length }) =>
    Array.from({ length: length / BLOCK }, (_, index) => `${device}:${offset / BLOCK + index}`),
  );

describe('a trace', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(trace, (ranges) => {
        expect(decodeTrace(encodeTrace(ranges))).toEqual(ranges);
      }),
    );
  });

  test.each([
    ['of a device beyond the last', at(0, 1, 64)],
    ['of no bytes', at(0, 0)],
    ['that begins within a block', { device: 0, offset: 5, length: BLOCK }],
    ['before the first byte', at(-1)],
    ['that is no number', { device: 0, offset: Number.NaN, length: BLOCK }],
    ['beyond 16 TiB', at(2 ** 32 - 1, 2)],
  ])('has no range %s', (_, bad) => {
    expect(() => requireTrace([bad])).toThrow();
  });

  test('that is too long is refused', () => {
    const long = Array.from({ length: MAX_TRACE_RANGES + 1 }, (_, block) => at(2 * block));
    expect(() => requireTrace(long)).toThrow(/16385/);
    expect(decodeTrace(encodeTrace(long))).toHaveLength(MAX_TRACE_RANGES);
  });

  test('is read from no other bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          expect(encodeTrace(decodeTrace(bytes))).toEqual(Buffer.from(bytes));
        } catch (error) {
          expect(isDrakkarError(error, 'invalid_content')).toBe(true);
        }
      }),
    );
  });
});

describe('what starts read', () => {
  test('is in the order in which one start came to it first', () => {
    fc.assert(
      fc.property(trace, (one) => {
        expect(blocksOf(mergeTraces([one]))).toEqual(firstTouches(one));
      }),
    );
  });

  test('is every block that at least half of the starts have read, once', () => {
    fc.assert(
      fc.property(traces, (all) => {
        const touched = all.map((each) => new Set(blocksOf(each)));
        const wanted = new Set(
          touched
            .flatMap((each) => [...each])
            .filter((block) => touched.filter((each) => each.has(block)).length * 2 >= all.length),
        );
        const merged = blocksOf(mergeTraces(all));
        expect(new Set(merged)).toEqual(wanted);
        expect(merged).toHaveLength(wanted.size);
      }),
    );
  });

  test('stays as it is when it is merged again, and does not depend on the order of the traces', () => {
    fc.assert(
      fc.property(traces, (all) => {
        const merged = mergeTraces(all);
        expect(mergeTraces([merged])).toEqual(merged);
        expect(mergeTraces([...all].reverse())).toEqual(merged);
        requireTrace(merged);
      }),
    );
  });

  test('is in the order of the medians', () => {
    const all = [
      [at(10), at(20), at(30)],
      [at(10), at(30), at(20)],
      [at(30), at(10), at(20)],
      [at(99), at(10), at(20)],
    ];
    expect(mergeTraces(all)).toEqual([at(10), at(30), at(20)]);
  });

  test('has a bound, and is found soon however much ranges overlap', () => {
    const nested = Array.from({ length: MAX_TRACE_RANGES }, (_, index) =>
      at(index, 2 * (MAX_TRACE_RANGES - index)),
    );
    const scattered = Array.from({ length: MAX_TRACE_RANGES }, (_, index) => at(3 * index, 1, 1));
    const others = scattered.map(({ offset, ...rest }) => ({ ...rest, offset: offset + BLOCK }));
    const merged = mergeTraces([nested, [...nested].reverse(), scattered, others]);
    expect(merged.length).toBeLessThanOrEqual(MAX_TRACE_RANGES);
    expect(mergeTraces([scattered, others])).toHaveLength(MAX_TRACE_RANGES);
  });
});

/** Within a range that is new in part, what is new comes in ascending order. */
function firstTouches(one: Trace): string[] {
  return [...new Set(blocksOf(one))];
}
