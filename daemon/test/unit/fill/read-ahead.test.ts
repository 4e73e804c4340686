import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ReadAhead } from '../../../src/fill/read-ahead.ts';

describe('reading ahead', () => {
  test('who reads in order is given more and more, who jumps about nothing', () => {
    const ahead = new ReadAhead(1000);
    expect(ahead.behind([10])).toEqual([]);
    expect(ahead.behind([11])).toEqual([12, 13]);
    expect(ahead.behind([14])).toEqual([15, 16, 17, 18]);
    expect(ahead.behind([500])).toEqual([]);
    expect(ahead.behind([19])).toHaveLength(8);
    expect(ahead.behind([3])).toEqual([]);
  });

  test('two readers in order at the same time are two streams', () => {
    const ahead = new ReadAhead(1000);
    ahead.behind([100, 200]);
    expect(ahead.behind([101])).toEqual([102, 103]);
    expect(ahead.behind([201])).toEqual([202, 203]);
    expect(ahead.behind([104])).toHaveLength(4);
  });

  test('nothing is asked for beyond the end, twice in one stream, or without bound', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.nat(49), { maxLength: 60 }),
        (count, wishes) => {
          const ahead = new ReadAhead(count);
          for (const block of wishes.filter((wish) => wish < count)) {
            const behind = ahead.behind([block]);
            expect(behind.every((next) => next > block && next < count)).toBe(true);
            expect(new Set(behind).size).toBe(behind.length);
            expect(behind.length).toBeLessThanOrEqual(16);
          }
        },
      ),
    );
  });
});
