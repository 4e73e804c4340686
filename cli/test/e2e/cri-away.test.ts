import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type ContainerOptions,
  type Pod,
  type Registry,
  sleepFile,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import type { Supernode } from '@drakkar/supernode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memberOf, startSupernodeIn } from '../kit/cluster.ts';
import { type ClusterNode, CONTAINERDS, startClusterNode } from '../kit/cluster-node.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const FILES = 8;
/** More than one block, so that each has one of its own. */
const FILE_BYTES = 1024 * 1024;
const COMMAND = ['/bin/sh', '-c', 'for f in /data/*; do read line < $f; echo $line; done'];
const SAID = Array.from({ length: FILES }, (_, index) => `this is ${index}\n`).join('');
/** Reads one file on and on. */
const ENDLESS = ['/bin/sh', '-c', 'while :; do read line < /data/0; /bin/sleep 0.05; done'];
const SOON = { timeout: 30_000, interval: 200 };

type Who = 'registry' | 'supernode';

const AWAY: readonly [name: string, who: readonly Who[]][] = [
  ['the registry', ['registry']],
  ['the supernode', ['supernode']],
  ['both', ['registry', 'supernode']],
];

describe.skipIf(!isRoot).each(CONTAINERDS)(
  'pods of a stock containerd $version in a cluster (need root)',
  ({ programs }) => {
    const running = new AsyncDisposableStack();
    let registry: Registry;
    let supernode: Supernode;
    let seed: Host;
    let node: ClusterNode;
    let storageDirectory: string;
    let supernodeDirectory: string;
    let containers = 0;

    beforeAll(async () => {
      const { path } = running.use(await temporaryDirectory('away'));
      [storageDirectory, supernodeDirectory] = [join(path, 'storage'), join(path, 'supernode')];
      registry = await startRegistry({ storageDirectory });
      running.defer(() => registry.stop());
      supernode = await startSupernodeIn(supernodeDirectory);
      running.defer(() => supernode[Symbol.asyncDispose]());
      seed = running.use(await startHost(memberOf(supernode, 'seed')));
      node = running.use(
        await startClusterNode({
          registry,
          programs: await programs(),
          mirror: true,
          config: { ...memberOf(supernode, 'node'), containerd: { buildSnapshots: false } },
        }),
      );
      await untilJoined();
    });
    afterAll(() => running[Symbol.asyncDispose]());

    async function untilJoined(): Promise<void> {
      const signal = AbortSignal.timeout(SOON.timeout);
      for (const { client } of [seed, node.host])
        while ((await client.status()).swarm?.supernode.up !== true)
          await delay(SOON.interval, undefined, { signal });
    }

    /** An image of which a seed has the snapshot, and the registry, too. */
    async function seeded(name: string): Promise<string> {
      const data = Array.from({ length: FILES }, (_, index) => ({
        name: `data/${index}`,
        data: Buffer.concat([Buffer.from(`this is ${index}\n`), randomBytes(FILE_BYTES)]),
      }));
      const image = await push(registry, shellImage({}, [sleepFile(), ...data]), name);
      expect(await seed.drakkar('snapshot', 'build', '--push', image)).toMatchObject({ code: 0 });
      return image;
    }

    async function takeAway(who: readonly Who[]): Promise<AsyncDisposable> {
      const { host } = registry;
      const port = Number(/:(\d+)/.exec(supernode.status().address)?.[1]);
      if (who.includes('registry')) await registry.stop();
      if (who.includes('supernode')) await supernode[Symbol.asyncDispose]();
      return {
        async [Symbol.asyncDispose]() {
          if (who.includes('registry'))
            registry = await startRegistry({ storageDirectory, port: Number(host.split(':').at(-1)) });
          if (!who.includes('supernode')) return;
          supernode = await startSupernodeIn(supernodeDirectory, port);
          await untilJoined();
        },
      };
    }

    /** How much of an image's snapshot is not here: 0 … 1. */
    async function missingOf(image: string): Promise<number> {
      const name = image.replace(/:latest$/, '@');
      const found = (await node.host.client.snapshots()).find((snapshot) => snapshot.image.startsWith(name));
      return 1 - (found?.residency ?? 1);
    }

    const runIn = (pod: Pod, image: string) => {
      containers += 1;
      return node.cri.run(pod, { name: `c-${containers}`, image, command: COMMAND });
    };

    /** As a kubelet does: what is restarted is away for a moment. */
    async function runSoon(pod: Pod, options: ContainerOptions): Promise<string> {
      let output = '';
      const attempt = async () => {
        containers += 1;
        output = await node.cri.run(pod, { ...options, name: `c-${containers}` });
      };
      await expect.poll(() => attempt().catch(String), SOON).toBeUndefined();
      return output;
    }

    test.each(AWAY)('read on with %s away after the mount', async (name, who) => {
      const image = await seeded(`after-${who.join('-')}`);
      await node.inPod({ name: `after ${name}` }, async (pod) => {
        await node.cri.pull(image);
        const id = await node.cri.startContainer(pod, { name: `endless-${who}`, image, command: ENDLESS });
        await using _ = await takeAway(who);
        // The other files come now.
        expect(await missingOf(image)).toBeGreaterThan(0.5);
        expect(await runIn(pod, image)).toBe(SAID);
        expect(await node.cri.isRunning(id)).toBe(true);
        await node.cri.removeContainer(id);
      });
      await node.cri.removeImage(image);
    });

    test.each(AWAY)('start with %s away before the mount', async (name, who) => {
      const image = await seeded(`before-${who.join('-')}`);
      await node.inPod({ name: `before ${name}` }, async (pod) => {
        await node.cri.pull(image);
        await using _ = await takeAway(who);
        expect(await runIn(pod, image)).toBe(SAID);
      });
      await node.cri.removeImage(image);
    });

    test('go on, and start, through a restart of the daemon and one of containerd', async () => {
      const image = await seeded('restarts');
      await node.inPod({ name: 'restarts' }, async (pod) => {
        await node.cri.pull(image);
        const id = await node.cri.startContainer(pod, { name: 'endless', image, command: ENDLESS });
        for (const restart of [
          async () => {
            await node.host.kill('daemon', 'SIGTERM');
            await node.host.start();
          },
          () => node.containerd.restart(),
        ]) {
          const starting = runSoon(pod, { name: 'meanwhile', image, command: COMMAND });
          await restart();
          expect(await starting).toBe(SAID);
          expect(await node.cri.isRunning(id)).toBe(true);
        }
        await node.cri.removeContainer(id);
      });
      await node.cri.removeImage(image);
    });
  },
);
