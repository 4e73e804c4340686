import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loopFilesBelow, mountsBelow, pauseImage, type Registry, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClusterNode, CONTAINERDS, startClusterNode } from '../kit/cluster-node.ts';
import { push, shellImage } from '../kit/image.ts';
import { leftoversOf, NOTHING_LEFT } from '../kit/leftovers.ts';

const isRoot = process.getuid?.() === 0;
const IN_A_ROW = 100;
const AT_ONCE = 50;
/** Connections come and go. */
const FEW = 8;
const SOON = { timeout: 60_000, interval: 200 };
const COMMAND = ['/bin/sh', '-c', 'echo ready; echo new > /new'];
const SAID = 'ready\n';

describe.skipIf(!isRoot).each(CONTAINERDS)(
  'many pods of a stock containerd $version (need root)',
  ({ version, programs }) => {
    const running = new AsyncDisposableStack();
    let node: ClusterNode;
    let registry: Registry;
    /** One that is not unpacked, and one that is. */
    let images: readonly string[];

    beforeAll(async () => {
      registry = running.use(await startRegistry());
      node = running.use(
        await startClusterNode({
          registry,
          programs: await programs(),
          config: { containerd: { buildSnapshots: false } },
        }),
      );
      const lazy = await push(
        registry,
        shellImage({}, [{ name: 'data', data: randomBytes(100_000) }]),
        'lazy',
      );
      await node.host.client.buildSnapshot({ image: lazy });
      images = [lazy, await push(registry, pauseImage('unpacked'), 'unpacked')];
    });
    afterAll(() => running[Symbol.asyncDispose]());

    async function runOne(index: number): Promise<void> {
      const image = images[index % images.length] ?? '';
      const options = { name: `container-${index}`, image, command: COMMAND };
      const output = await node.inPod({ name: `pod-${index}` }, (pod) => node.cri.run(pod, options));
      expect(output).toBe(SAID);
    }

    /** What of a host one sees from outside, when nothing goes on. */
    async function seen() {
      await node.collect();
      const { host, containerd } = node;
      const descriptors = [host.daemonPid, ...host.nativePids].map(
        (pid) => readdirSync(`/proc/${pid}/fd`).length,
      );
      return {
        snapshots: [...(await node.snapshots()).keys()].sort(),
        layers: readdirSync(join(host.directory, 'native', 'layers')).length,
        mounts: [...mountsBelow(host.directory), ...mountsBelow(containerd.directory)].length,
        loops: loopFilesBelow(host.directory).length,
        descriptors: descriptors.reduce((sum, count) => sum + count, 0),
      };
    }

    // Each of them one way: it takes half a minute.
    const isInARow = version === '1.6';

    test(`leave nothing behind, ${isInARow ? 'one after the other' : 'all at once'}`, async () => {
      for (const image of images) await node.cri.pull(image);
      for (const index of images.keys()) await runOne(index);
      const { descriptors, ...before } = await seen();
      if (isInARow) for (let index = 0; index < IN_A_ROW; index += 1) await runOne(100 + index);
      else await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => runOne(1000 + index)));
      await expect.poll(seen, SOON).toMatchObject(before);
      expect((await seen()).descriptors).toBeLessThan(descriptors + FEW);
      for (const image of images) await node.cri.removeImage(image);
      // The pause image's own.
      await expect.poll(async () => (await seen()).layers, SOON).toBe(1);
      expect(await leftoversOf(node.host)).toEqual(NOTHING_LEFT);
    });
  },
);
