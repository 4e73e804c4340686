import { expect, test, vi } from 'vitest';
import { LoopDelay } from '../../src/loop-delay.ts';

const BLOCK_MS = 300;

test('a turn that keeps all others waiting is seen', async () => {
  using delay = new LoopDelay();
  expect(delay.take()).toBe(0);
  let seenSeconds = 0;
  await vi.waitUntil(
    () => {
      // Of the turns before this one.
      seenSeconds = Math.max(seenSeconds, delay.take());
      if (seenSeconds >= BLOCK_MS / 2000) return true;
      setTimeout(() => {
        const untilMs = performance.now() + BLOCK_MS;
        while (performance.now() < untilMs);
      }, 50);
      return false;
    },
    { timeout: 10_000, interval: 200 },
  );
});
