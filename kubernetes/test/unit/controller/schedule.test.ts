import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dueOf, scheduleProblem } from '../../../src/controller/schedule.ts';

const at = (text: string) => Date.parse(text);
const MADE = at('2026-03-01T12:00:30Z');

describe('tags are looked at again', () => {
  test('never, where nothing is said', () => {
    expect(dueOf(undefined, MADE, MADE + 1e9)).toEqual({ lastMs: MADE, nextMs: undefined });
  });

  test('so often, counted from when it was made', () => {
    expect(dueOf({ interval: '10m' }, MADE, MADE + 25 * 60_000)).toEqual({
      lastMs: MADE + 20 * 60_000,
      nextMs: MADE + 30 * 60_000,
    });
  });

  test('at the times of a cron schedule, in UTC, and none of before it was made', () => {
    const due = (now: string) => dueOf({ cron: '0 3 * * *' }, MADE, at(now));
    expect(due('2026-03-01T23:00:00Z')).toEqual({ lastMs: MADE, nextMs: at('2026-03-02T03:00:00Z') });
    expect(due('2026-03-02T03:00:00Z')).toEqual({
      lastMs: at('2026-03-02T03:00:00Z'),
      nextMs: at('2026-03-03T03:00:00Z'),
    });
  });

  test('never, by a schedule that never comes', () => {
    expect(dueOf({ cron: '0 3 30 2 *' }, MADE, MADE + 1e9)).toEqual({ lastMs: MADE, nextMs: undefined });
  });

  test('not at all by what is no schedule', () => {
    for (const cron of ['99 3 * * *', 'a b c d e', '* * * *', '* * * * * *'])
      expect(() => dueOf({ cron }, MADE, MADE)).toThrow();
  });

  test('by what comes within four years, as a leap day', () => {
    const problem = (cron: string) => scheduleProblem({ cron }, MADE);
    expect(['0 3 * * *', '0 0 29 2 *', '5 4 L JAN MON'].map(problem)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(problem('0 0 30 2 *')).toContain('does not come within four years');
    expect(problem('x y z a b')).toContain('is none');
  });

  test('at the same times whoever asks, and whenever', () => {
    const refresh = fc.constantFrom({ interval: '7m' }, { cron: '*/7 * * * *' }, { cron: '13 */5 * * 1-5' });
    const ms = fc.integer({ min: 0, max: 30 * 24 * 3_600_000 });
    fc.assert(
      fc.property(refresh, ms, (each, agoMs) => {
        const { lastMs, nextMs = Number.NaN } = dueOf(each, MADE, MADE + agoMs);
        expect(lastMs).toBeLessThanOrEqual(MADE + agoMs);
        expect(nextMs).toBeGreaterThan(MADE + agoMs);
        expect(dueOf(each, MADE, nextMs - 1).lastMs).toBe(lastMs);
        expect(dueOf(each, MADE, nextMs).lastMs).toBe(nextMs);
      }),
    );
  });
});
