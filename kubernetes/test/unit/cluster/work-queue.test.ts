import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StatusError, WorkQueue } from '../../../src/cluster/index.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A queue whose work ends when it is told to. */
function startQueue(atOnce: number) {
  const running = new Map<string, PromiseWithResolvers<number | undefined>>();
  const begun: string[] = [];
  const failed: string[] = [];
  let most = 0;
  const queue = new WorkQueue({
    atOnce,
    work: (key) => {
      expect(running.has(key)).toBe(false);
      const ending = Promise.withResolvers<number | undefined>();
      running.set(key, ending);
      most = Math.max(most, running.size);
      begun.push(key);
      return ending.promise;
    },
    failed: (key) => void failed.push(key),
  });
  const end = async (key: string, how: number | undefined | Error) => {
    const ending = running.get(key);
    running.delete(key);
    if (how instanceof Error) ending?.reject(how);
    else ending?.resolve(how);
    await vi.advanceTimersByTimeAsync(0);
  };
  return { queue, begun, failed, running, end, most: () => most };
}

describe('a work queue', () => {
  test('works on a key once however often it was added, and once more where that was meanwhile', async () => {
    const { queue, begun, end } = startQueue(2);
    for (let count = 0; count < 5; count += 1) queue.add('a');
    expect(begun).toEqual(['a']);
    queue.add('a');
    queue.add('a');
    await end('a', undefined);
    expect(begun).toEqual(['a', 'a']);
    await end('a', undefined);
    expect(queue.size).toBe(0);
  });

  test('tries again what has failed, later each time, and not before it may', async () => {
    const { queue, begun, failed, end } = startQueue(1);
    queue.add('a');
    const waits: number[] = [];
    for (let failure = 0; failure < 6; failure += 1) {
      await end('a', new Error('no'));
      const fromMs = performance.now();
      while (begun.length === failure + 1) await vi.advanceTimersByTimeAsync(10);
      waits.push(performance.now() - fromMs);
    }
    expect(failed).toHaveLength(6);
    expect(waits.at(-1)).toBeGreaterThan((waits[0] ?? 0) * 8);
    await end('a', new StatusError({ code: 429, details: { retryAfterSeconds: 90 } }));
    await vi.advanceTimersByTimeAsync(89_000);
    expect(begun).toHaveLength(7);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(begun).toHaveLength(8);
  });

  test('tries nothing that has failed sooner because there is news of it, unless it is added', async () => {
    const { queue, begun, end } = startQueue(1);
    const putOff = new StatusError({ code: 429, details: { retryAfterSeconds: 60 } });
    queue.add('a');
    queue.addIn('a', 200);
    await end('a', putOff);
    queue.addIn('a', 500);
    await vi.advanceTimersByTimeAsync(59_000);
    expect(begun).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1_001);
    expect(begun).toHaveLength(2);
    await end('a', putOff);
    queue.add('a');
    expect(begun).toHaveLength(3);
    await end('a', undefined);
    queue.addIn('a', 500);
    await vi.advanceTimersByTimeAsync(501);
    expect(begun).toHaveLength(4);
  });

  test('looks again when it was told to, or sooner where it is added', async () => {
    const { queue, begun, end } = startQueue(1);
    queue.add('a');
    await end('a', 10_000);
    queue.addIn('a', 20_000);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(begun).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1_001);
    expect(begun).toHaveLength(2);
    await end('a', 10_000);
    queue.add('a');
    expect(begun).toHaveLength(3);
    await end('a', undefined);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(begun).toHaveLength(3);
  });

  test('begins nothing once it has ended', async () => {
    const { queue, begun, end } = startQueue(1);
    for (const key of ['a', 'b']) queue.add(key);
    queue.addIn('c', 1);
    const ended = queue[Symbol.asyncDispose]();
    await end('a', 1);
    await ended;
    queue.add('d');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(begun).toEqual(['a']);
  });

  test('loses no key, whatever is added and however work ends', async () => {
    const steps = fc.array(
      fc.record({
        key: fc.constantFrom('a', 'b', 'c', 'd'),
        what: fc.constantFrom('add', 'end', 'fail', 'wait'),
      }),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (all, atOnce) => {
        const { queue, begun, running, end, most } = startQueue(atOnce);
        const addedAt = new Map<string, number>();
        for (const { key, what } of all) {
          if (what === 'add') {
            addedAt.set(key, begun.length);
            queue.add(key);
          } else if (what === 'wait') await vi.advanceTimersByTimeAsync(500);
          else if (running.has(key)) await end(key, what === 'fail' ? new Error('no') : undefined);
        }
        for (let turn = 0; turn < 200 && (running.size > 0 || queue.size > 0); turn += 1) {
          for (const key of [...running.keys()]) await end(key, undefined);
          await vi.advanceTimersByTimeAsync(100);
        }
        for (const [key, at] of addedAt) expect(begun.slice(at)).toContain(key);
        expect(most()).toBeLessThanOrEqual(atOnce);
        await queue[Symbol.asyncDispose]();
      }),
    );
  });
});
