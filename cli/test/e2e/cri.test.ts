import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ContainerOptions,
  type Image,
  imageOf,
  type Pod,
  type Registry,
  sleepFile,
  startRegistry,
} from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClusterNode, CONTAINERDS, startClusterNode } from '../kit/cluster-node.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const MEBIBYTE = 1024 * 1024;
const DATA_BYTES = 24 * MEBIBYTE;

const imageWith = (data: Buffer): Image => shellImage({}, [sleepFile(), { name: 'data', data }]);

/** Containerd collects what nothing refers to half a second after a removal, or so. */
const COLLECTED = { timeout: 20_000, interval: 100 };

/** Reads, writes and removes in every way that an overlay has. */
const SCRIPT =
  'read line < /etc/passwd; echo $line; echo new > /etc/passwd; read line < /etc/passwd; echo $line; echo a > /tmp/a; echo /tmp/*';

const SAID = 'root:x:0:0:root:/root:/bin/sh\nnew\n/tmp/a\n';

describe.skipIf(!isRoot).each(CONTAINERDS)(
  'pods of a stock containerd $version (need root)',
  ({ programs }) => {
    let registry: Registry;
    let builder: Host;
    let node: ClusterNode;

    beforeAll(async () => {
      registry = await startRegistry();
      builder = await startHost();
      const { builderPublicKey } = await builder.client.status();
      node = await startClusterNode({
        registry,
        programs: await programs(),
        config: { snapshots: { trustedBuilders: [builderPublicKey] }, volumes: { background: 'off' } },
      });
    });

    afterAll(async () => {
      await node?.[Symbol.asyncDispose]();
      await builder?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
    });

    async function withSnapshot(name: string, data: Buffer): Promise<string> {
      const image = await push(registry, imageWith(data), name);
      expect(await builder.drakkar('snapshot', 'build', '--push', image)).toMatchObject({ code: 0 });
      return image;
    }

    /** As a kubelet does: containerd connects to a snapshotter that was away only after a while. */
    async function runSoon(pod: Pod, options: ContainerOptions): Promise<string> {
      let output = '';
      const attempt = async () => {
        output = await node.cri.run(pod, options);
      };
      await expect.poll(() => attempt().catch(String), { timeout: 30_000, interval: 500 }).toBeUndefined();
      return output;
    }

    test('are looked at by the doctor', async () => {
      const image = await push(registry, shellImage(), 'doctor');
      const { stdout } = await node.host.drakkar(
        'doctor',
        '--json',
        '--image',
        image,
        ...node.containerdFlags,
      );
      const { checks } = JSON.parse(stdout) as {
        checks: { name: string; verdict: string; finding: string }[];
      };
      const of = (name: string) => checks.find((check) => check.name === name);
      expect(of('snapshotter')).toMatchObject({ verdict: 'ok' });
      expect(of('annotations')).toMatchObject({ verdict: 'ok' });
      expect(of('host')?.finding).toContain('containerd takes it from there');
    });

    test('start from an image of which nothing was unpacked, and see what is in it', async () => {
      const data = randomBytes(DATA_BYTES);
      const image = await withSnapshot('lazy', data);
      await node.inPod({ name: 'lazy' }, async (pod) => {
        await node.cri.pull(image);
        const command = ['/bin/sh', '-c', SCRIPT];
        const output = await node.cri.run(pod, { name: 'first', image, command });
        expect(output).toBe(SAID);
        expect((await node.host.client.status()).traffic.upstreamBytes).toBeLessThan(DATA_BYTES / 2);
        expect(await node.cri.run(pod, { name: 'second', image, command })).toBe(output);
        const [snapshot] = await node.host.client.snapshots();
        expect(snapshot?.path).not.toBeNull();
        expect(snapshot?.residency).toBeLessThan(50);
      });
      await node.cri.removeImage(image);
      await expect.poll(async () => (await node.snapshots()).size, COLLECTED).toBe(1);
      await expect.poll(async () => (await node.host.client.snapshots())[0]?.path, COLLECTED).toBeNull();
    });

    test('start from an image without a snapshot as ever', async () => {
      const image = await push(registry, imageWith(randomBytes(MEBIBYTE)), 'ordinary');
      await node.inPod({ name: 'ordinary' }, async (pod) => {
        await node.cri.pull(image);
        const output = await node.cri.run(pod, {
          name: 'ordinary',
          image,
          command: ['/bin/sh', '-c', SCRIPT],
        });
        expect(output).toBe(SAID);
      });
      await node.cri.removeImage(image);
    });

    test('start from an image that shares layers with one of which nothing was unpacked', async () => {
      const first = await withSnapshot('common', randomBytes(MEBIBYTE));
      const second = await push(registry, imageWith(randomBytes(MEBIBYTE)), 'other');
      await node.inPod({ name: 'common' }, async (pod) => {
        for (const [name, image] of [
          ['one', first],
          ['two', second],
        ] as const) {
          await node.cri.pull(image);
          const output = await node.cri.run(pod, { name, image, command: ['/bin/sh', '-c', SCRIPT] });
          expect(output).toBe(SAID);
        }
      });
      for (const image of [first, second]) await node.cri.removeImage(image);
    });

    test('start from an image that is the lowest layers of one of which nothing was unpacked', async () => {
      const whole = imageWith(randomBytes(MEBIBYTE));
      const large = await push(registry, whole, 'large');
      expect(await builder.drakkar('snapshot', 'build', '--push', large)).toMatchObject({ code: 0 });
      const small = await push(registry, imageOf({ layers: whole.layers.slice(0, 1) }), 'small');
      await node.inPod({ name: 'lowest' }, async (pod) => {
        await node.cri.pull(large);
        await node.cri.pull(small);
        const command = ['/bin/sh', '-c', 'echo /*'];
        expect(await node.cri.run(pod, { name: 'large', image: large, command })).toContain('/data');
        const output = await node.cri.run(pod, { name: 'small', image: small, command });
        expect(output).not.toContain('/data');
        expect(output).toContain('/bin');
      });
      for (const image of [large, small]) await node.cri.removeImage(image);
      const mounted = async () => (await node.host.client.snapshots()).filter(({ path }) => path !== null);
      await expect.poll(mounted, COLLECTED).toEqual([]);
    });

    test('go on while daemon and helper are killed, and start again afterwards, with the registry away', async () => {
      const image = await withSnapshot('killed', randomBytes(DATA_BYTES));
      await node.inPod({ name: 'killed' }, async (pod) => {
        await node.cri.pull(image);
        const command = ['/bin/sh', '-c', 'while :; do read x < /data; /bin/sleep 0.05; done'];
        const id = await node.cri.startContainer(pod, { name: 'long', image, command });
        for (let kills = 0; kills < 3; kills += 1) {
          await Promise.all([node.host.kill('daemon'), node.host.kill('helper')]);
          await node.host.start();
          expect(await node.cri.isRunning(id)).toBe(true);
          expect(
            await runSoon(pod, {
              name: `again-${kills}`,
              image,
              command: ['/bin/sh', '-c', SCRIPT],
            }),
          ).toBe(SAID);
        }
        await node.cri.removeContainer(id);
      });
      await node.cri.removeImage(image);
    });

    test('start again after a reboot', async () => {
      const image = await withSnapshot('reboot', randomBytes(DATA_BYTES));
      await node.inPod({ name: 'reboot' }, async (pod) => {
        await node.cri.pull(image);
        expect(await node.cri.run(pod, { name: 'before', image, command: ['/bin/sh', '-c', SCRIPT] })).toBe(
          SAID,
        );
        await node.host.reboot();
        expect(await runSoon(pod, { name: 'after', image, command: ['/bin/sh', '-c', SCRIPT] })).toBe(SAID);
      });
      await node.cri.removeImage(image);
      await expect.poll(async () => (await node.snapshots()).size, COLLECTED).toBe(1);
      expect(await layersOf(node)).toBe(1);
    });
  },
);

/** Directories that the helper keeps for snapshots. */
async function layersOf({ host }: ClusterNode): Promise<number> {
  return (await readdir(join(host.directory, 'native', 'layers'))).length;
}
