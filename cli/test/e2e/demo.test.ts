import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { processesWith, type Registry, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { push, shellImage } from '../kit/image.ts';
import { chanceOf } from '../kit/random.ts';

const MAIN = join(import.meta.dirname, '../../src/main.js');
const CONDITION = { timeout: 20_000, interval: 50 };
const isRoot = process.getuid?.() === 0;
const seed = process.env.DRAKKAR_TEST_SEED ?? String(Date.now());

describe.skipIf(!isRoot)(`the demo (needs root; DRAKKAR_TEST_SEED=${seed})`, () => {
  let registry: Registry;
  let image: string;

  beforeAll(async () => {
    registry = await startRegistry();
    // As servers do: it says that it is up, and stays.
    const stays = 'echo up; while :; do :; done';
    image = await push(registry, shellImage({ Cmd: ['/bin/sh', '-c', stays] }), 'server');
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  /** Everything that a demo makes has its name. */
  const traces = () => [
    ...processesWith('drakkar-demo').map((pid) => `process ${pid}`),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => /drakkar-(demo|containerd)-/.test(line)),
    ...['/run/runc', '/run/containerd/runc/drakkar-lab']
      .filter((directory) => existsSync(directory))
      .flatMap((directory) => readdirSync(directory).map((name) => join(directory, name))),
    ...readdirSync('/var/tmp').filter((name) => name.startsWith('drakkar-demo-')),
  ];
  /** What somebody else left, whose run was cut short, is not this demo's. */
  const others = new Set(traces());
  const leftovers = () => traces().filter((trace) => !others.has(trace));

  const demo = (...args: string[]) =>
    spawn(process.execPath, [MAIN, '--json', 'up', '--demo', ...args, image], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  test('shows an image whose command never ends, and ends', async () => {
    const child = demo('--once');
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes) => {
      stdout += bytes;
    });
    child.stderr.on('data', (bytes) => {
      stderr += bytes;
    });
    const [code] = await once(child, 'close');
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ image, output: 'up', warm: { found: 'here' } });
    await expect.poll(leftovers, CONDITION).toEqual([]);
  });

  test('leaves nothing behind, whenever Ctrl-C comes', async () => {
    const chance = chanceOf(seed);
    for (let round = 0; round < 4; round += 1) {
      const child = demo();
      child.stdout.resume();
      let stderr = '';
      child.stderr.on('data', (bytes) => {
        stderr += bytes;
      });
      const closed = once(child, 'close');
      await once(child.stderr, 'data');
      await delay(chance.next() * 5000);
      child.kill('SIGINT');
      const [code, signal] = await Promise.race([
        closed,
        delay(60_000).then(() => {
          child.kill('SIGKILL');
          return ['never', null];
        }),
      ]);
      // Once all has been shown, Ctrl-C is how it ends.
      expect([0, 130], `${signal} ${stderr}`).toContain(code);
      await expect.poll(leftovers, CONDITION).toEqual([]);
    }
  });
});
