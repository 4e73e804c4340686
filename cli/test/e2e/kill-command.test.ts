import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { processesWith, type Registry, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { pushFreshImage } from '../kit/fresh-images.ts';
import { leftoversOf, NOTHING_LEFT } from '../kit/leftovers.ts';
import { builderOf } from '../kit/processes.ts';
import { chanceOf } from '../kit/random.ts';

const KILLS = 8;
const CONDITION = { timeout: 20_000, interval: 25 };

const isRoot = process.getuid?.() === 0;
const seed = process.env.DRAKKAR_TEST_SEED ?? String(Date.now());

describe.skipIf(!isRoot)(`a command killed at any moment (needs root; DRAKKAR_TEST_SEED=${seed})`, () => {
  let registry: Registry;
  let host: Host;

  beforeAll(async () => {
    registry = await startRegistry();
    host = await startHost();
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const command = (...args: string[]) => {
    const [program, ...rest] = host.command(...args);
    return spawn(program, rest, { stdio: 'ignore' });
  };

  test.each([
    { name: 'run', args: ['run', '--net', 'none'], until: 'the daemon starts again' },
    { name: 'snapshot build', args: ['snapshot', 'build'], until: 'its work has been given up' },
    { name: 'pull', args: ['pull'], until: 'its work has been given up' },
  ])('$name leaves nothing once $until', async ({ name, args }) => {
    const chance = chanceOf(`${seed},${name}`);
    const startMs = performance.now();
    const { reference } = await pushFreshImage(registry, chance);
    expect(await once(command(...args, reference), 'close')).toEqual([0, null]);
    const durationMs = performance.now() - startMs;
    for (let kill = 0; kill < KILLS; kill += 1) {
      const image = await pushFreshImage(registry, chance);
      const child = command(...args, image.reference);
      const closed = once(child, 'close');
      await delay(chance.next() * durationMs);
      child.kill('SIGKILL');
      await closed;
      // A container that has begun ends by itself; runc removes what is runc's.
      await expect.poll(() => processesWith(`${host.directory}/native/overlays`), CONDITION).toEqual([]);
      if (name === 'run') await host.kill('daemon');
      await host.start();
      await expect.poll(() => builderOf(host.daemonPid), CONDITION).toBe(undefined);
      await expect.poll(() => leftoversOf(host), CONDITION).toEqual(NOTHING_LEFT);
      expect(await host.drakkar(...args, image.reference)).toMatchObject({ code: 0 });
    }
  });
});
