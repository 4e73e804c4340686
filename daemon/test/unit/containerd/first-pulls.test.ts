import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FirstPulls } from '../../../src/containerd/first-pulls.ts';

const said: string[] = [];
const say = (_: object, message: string) => void said.push(message);
const log = { debug: say, info: say, warn: say, error: say };

test('snapshots are made one after the other, each once, and one that fails holds up nobody', async () => {
  const made: string[] = [];
  let running = 0;
  await using pulls = new FirstPulls(
    { delayMs: 1 },
    async (image) => {
      running += 1;
      expect(running).toBe(1);
      await sleep(1);
      running -= 1;
      if (image === 'bad') throw new Error('no');
      made.push(image);
      return 'made';
    },
    log,
  );
  for (const image of ['a', 'bad', 'a', 'b']) pulls.add(image);
  await expect.poll(() => made).toEqual(['a', 'b']);
  expect(said).toContain('no snapshot could be made of an image that was unpacked');
  pulls.add('a');
  await expect.poll(() => made).toEqual(['a', 'b', 'a']);
});

test('who ends waits for what has begun, and begins nothing more', async () => {
  const begun: string[] = [];
  let ended = false;
  const pulls = new FirstPulls(
    { delayMs: 0 },
    async (image, signal) => {
      begun.push(image);
      await sleep(60_000, undefined, { signal }).catch(() => {});
      ended = true;
      return 'made';
    },
    log,
  );
  pulls.add('a');
  pulls.add('b');
  await expect.poll(() => begun).toEqual(['a']);
  await pulls[Symbol.asyncDispose]();
  expect([begun, ended]).toEqual([['a'], true]);
});
