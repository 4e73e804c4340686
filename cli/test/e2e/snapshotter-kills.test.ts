import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Registry, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClusterNode, startClusterNode } from '../kit/cluster-node.ts';
import { chanceOf } from '../kit/random.ts';

const isRoot = process.getuid?.() === 0;
const seed = process.env.DRAKKAR_TEST_SEED ?? String(Date.now());
/** Set DRAKKAR_KILLS to 200 to have as many as may be: it takes some minutes. */
const KILLS = Number(process.env.DRAKKAR_KILLS ?? (process.env.CI === 'true' ? 20 : 10));
const KILLS_OF_ROUND = 5;
/** Callers at the same time, so that a blow hits calls of each kind. */
const CALLERS = 4;
/** Containerd waits a second and more before it connects again. */
const SOON = { timeout: 30_000, interval: 100 };

describe.skipIf(!isRoot)(`a snapshotter killed at any moment (needs root; DRAKKAR_TEST_SEED=${seed})`, () => {
  let registry: Registry;
  let node: ClusterNode;

  beforeAll(async () => {
    registry = await startRegistry();
    node = await startClusterNode({ registry });
  });
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const snapshots = (...args: string[]) =>
    node.containerd.ctr(['snapshots', '--snapshotter', 'drakkar', ...args]);
  const names = async () => [
    ...(await node.containerd.snapshots('drakkar', node.containerd.namespace)).keys(),
  ];

  test('knows what containerd knows, and keeps nothing else', { timeout: 30 * 60_000 }, async () => {
    const chance = chanceOf(seed);
    for (let kills = 0; kills < KILLS; kills += KILLS_OF_ROUND) {
      const ending = new AbortController();
      const callers = Array.from({ length: CALLERS }, async (_, caller) => {
        for (let round = 0; !ending.signal.aborted; round += 1) {
          const name = `${kills}-${caller}-${round}`;
          // What a kill makes of a call, nobody can say; what came of it is looked at below.
          await snapshots('prepare', `${name}-active`).catch(() => {});
          await snapshots('commit', name, `${name}-active`).catch(() => {});
          await snapshots('rm', name).catch(() => {});
        }
      });
      for (let kill = 0; kill < KILLS_OF_ROUND; kill += 1) {
        // Containerd has not always connected again by then: a blow shall hit calls.
        await expect.poll(() => snapshots('ls').then(() => 'answers', String), SOON).toBe('answers');
        await delay(chance.next() * 250);
        await node.host.kill('daemon');
        await node.host.start();
      }
      ending.abort();
      await Promise.all(callers);
      await expect.poll(() => names().then(() => 'answers', String), SOON).toBe('answers');
      // Whatever containerd lists, it can ask for, and take away.
      for (const name of await names()) {
        expect(await snapshots('info', name)).toContain(name);
        await snapshots('rm', name);
      }
      expect(await names()).toEqual([]);
    }
    // Containerd has what it does not know removed when it collects, which it does after something was removed.
    // To list nothing it has not asked, and may not have connected again.
    const prepares = () => snapshots('prepare', 'last').then(() => 'answers', String);
    await expect.poll(prepares, SOON).toBe('answers');
    await snapshots('rm', 'last');
    await node.collect();
    const layers = () => readdir(join(node.host.directory, 'native', 'layers'));
    await expect.poll(layers, SOON).toEqual([]);
  });
});
