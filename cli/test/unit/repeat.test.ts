import { afterEach, expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { repeat } from '../../src/output/repeat.ts';

const { exitCode } = process;
afterEach(() => {
  process.exitCode = exitCode;
});

const contextOf = (signal: AbortSignal) => ({ json: false, signal, answer: () => {} }) as unknown as Context;

test('what is watched ends without a word by Ctrl-C, and with its exit code', async () => {
  const interrupt = new AbortController();
  await repeat(contextOf(interrupt.signal), true, async () => {
    queueMicrotask(() => interrupt.abort());
    return { documents: [], text: 'all is well' };
  });
  expect(process.exitCode).toBe(130);
});

test('what can’t be looked at is said', async () => {
  const look = () => Promise.reject(new Error('nobody there'));
  await expect(repeat(contextOf(new AbortController().signal), true, look)).rejects.toThrow('nobody there');
});
