import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Pace } from '../../../src/swarm/rate.ts';

describe('the pace of everything together', () => {
  test('comes to what is steady, whatever that is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 100 }), (bytes, everyMs) => {
        const pace = new Pace();
        for (let nowMs = 0; nowMs <= 20_000; nowMs += everyMs) pace.add(bytes, nowMs);
        const ratio = pace.bytesPerMs(20_000) / (bytes / everyMs);
        expect(ratio).toBeGreaterThan(0.9);
        expect(ratio).toBeLessThan(1.1);
      }),
    );
  });

  test('falls when nothing comes', () => {
    const pace = new Pace();
    pace.add(1e6, 0);
    expect(pace.bytesPerMs(20_000)).toBeLessThan(1);
  });
});
