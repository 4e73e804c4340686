import { randomBytes } from 'node:crypto';
import {
  compareTrees,
  imageOf,
  layerOf,
  listTree,
  pushImage,
  type Registry,
  sleepFile,
  startRegistry,
  tarArchive,
} from '@drakkar/lab';
import { chainIdsOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { changeTree } from '../kit/changes.ts';
import { type ClusterNode, CONTAINERDS, startClusterNode } from '../kit/cluster-node.ts';
import { push, shellImage } from '../kit/image.ts';
import { COLLECTION } from '../kit/image-collection.ts';

const isRoot = process.getuid?.() === 0;
/** Few and many layers, what layers delete and replace, and what an overlay could get wrong. */
const IMAGES = [
  'shell',
  'eighty-layers',
  'same-layer-twice',
  'whiteouts',
  'replaced-kinds',
  'hard-links',
  'attributes',
];

/** Beside the two of a shell. */
const MOST_LAYERS = 118;

/** Layers are unpacked beside each other where containerd can do that. */
const PARALLEL = '[plugins."io.containerd.transfer.v1.local"]\n  max_concurrent_unpacks = 4\n';

describe.skipIf(!isRoot).each(CONTAINERDS)(
  'images in a stock containerd $version (need root)',
  ({ version, programs }) => {
    const running = new AsyncDisposableStack();
    const unpackedSinceSeconds = Math.floor(Date.now() / 1000);
    let registry: Registry;
    let node: ClusterNode;

    beforeAll(async () => {
      registry = running.use(await startRegistry());
      node = running.use(
        await startClusterNode({
          registry,
          programs: await programs(),
          extraConfig: version === '1.6' ? '' : PARALLEL,
          config: { containerd: { buildSnapshots: false } },
        }),
      );
    });
    afterAll(() => running[Symbol.asyncDispose]());

    test.each(COLLECTION.filter(({ name }) => IMAGES.includes(name)))(
      '$name: seen and changed as with overlayfs, unpacked or not',
      async ({ name, make }) => {
        const { containerd, host } = node;
        const made = await make();
        if (!('layers' in made)) throw new Error('an image of one platform');
        const top = chainIdsOf(made.layers.map(({ diffId }) => diffId)).at(-1) ?? '';
        await pushImage(registry.url, made, { repository: name, tag: 'test' });
        const image = `${registry.host}/${name}:test`;
        const treesOf = async (snapshotter: string) => {
          await using mounted = await containerd.mountSnapshot(snapshotter, top);
          const before = await listTree(mounted.path);
          await changeTree(mounted.path);
          return [before, await listTree(mounted.path)] as const;
        };
        const pull = (snapshotter: string) =>
          containerd.ctr(['images', 'pull', '--plain-http', '--snapshotter', snapshotter, image]);
        await pull('overlayfs');
        const theirs = await treesOf('overlayfs');
        await pull('drakkar');
        const unpacked = await treesOf('drakkar');
        await containerd.ctr(['images', 'rm', '--sync', image]);
        const given = await host.drakkar(
          'pull',
          '--containerd',
          '--containerd-address',
          containerd.address,
          '--namespace',
          containerd.namespace,
          image,
        );
        expect(given).toMatchObject({ code: 0 });
        const lazy = await treesOf('drakkar');
        for (const ours of [unpacked, lazy]) {
          for (const [index, tree] of ours.entries())
            expect(compareTrees(tree, theirs[index] ?? new Map(), { unpackedSinceSeconds })).toEqual([]);
        }
        await containerd.ctr(['images', 'rm', '--sync', image]);
      },
    );

    test('start with as many layers as an image may have, unpacked or not', async () => {
      const layers = Array.from({ length: MOST_LAYERS }, (_, index) =>
        layerOf(
          tarArchive([
            { name: `layer-${index}`, data: `${index}` },
            { name: 'last', data: `${index}\n` },
          ]),
        ),
      );
      const whole = imageOf({ layers: [...shellImage().layers, ...layers] });
      const image = await push(registry, whole, 'many-layers');
      const command = ['/bin/sh', '-c', 'read last < /last; echo $last'];
      for (const name of ['unpacked', 'lazy']) {
        await node.cri.pull(image);
        const output = await node.inPod({ name }, (pod) => node.cri.run(pod, { name, image, command }));
        expect(output).toBe(`${MOST_LAYERS - 1}\n`);
        await node.cri.removeImage(image);
        await node.collect();
        await node.host.client.buildSnapshot({ image });
      }
    });

    test('start with a root file system that nobody may write to', async () => {
      const image = await push(registry, shellImage(), 'read-only');
      await node.cri.pull(image);
      const command = [
        '/bin/sh',
        '-c',
        'read line < /etc/passwd; echo $line; { echo x > /new; } 2>/dev/null || echo refused',
      ];
      const options = { name: 'read-only', image, command, readonlyRootfs: true };
      const output = await node.inPod({ name: 'read-only' }, (pod) => node.cri.run(pod, options));
      expect(output).toBe('root:x:0:0:root:/root:/bin/sh\nrefused\n');
      await node.cri.removeImage(image);
    });

    // Containerd 1.6 knows none.
    if (version === '1.6') return;

    test('start in a user namespace, whose root owns what root owns', async () => {
      const data = { name: 'data', data: randomBytes(4 * 1024 * 1024) };
      const image = await push(registry, shellImage({}, [sleepFile(), data]), 'user-namespace');
      await node.host.client.buildSnapshot({ image });
      await node.cri.pull(image);
      const script =
        'read ids < /proc/self/uid_map; echo $ids; for f in / /etc/passwd /data; do test -O $f && echo $f; done; echo x > /etc/new && echo written';
      const options = { name: 'mapped', image, command: ['/bin/sh', '-c', script] };
      const choice = { name: 'user-namespace', hostId: 200_000 };
      const output = await node.inPod(choice, (pod) => node.cri.run(pod, options));
      expect(output).toBe('0 200000 65536\n/\n/etc/passwd\n/data\nwritten\n');
      await node.cri.removeImage(image);
    });
  },
);
