import { randomBytes } from 'node:crypto';
import { type Image, type Registry, sleepFile, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClusterNode, startClusterNode } from '../kit/cluster-node.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const MEBIBYTE = 1024 * 1024;
const DATA_BYTES = 24 * MEBIBYTE;

const imageWith = (data: Buffer): Image => shellImage({}, [sleepFile(), { name: 'data', data }]);

/** Reads, writes and removes in every way that an overlay has. */
const SCRIPT =
  'read line < /etc/passwd; echo $line; echo new > /etc/passwd; read line < /etc/passwd; echo $line; echo a > /tmp/a; echo /tmp/*';

describe.skipIf(!isRoot)('pods of a stock containerd (need root)', () => {
  let registry: Registry;
  let builder: Host;
  let node: ClusterNode;

  beforeAll(async () => {
    registry = await startRegistry();
    builder = await startHost();
    const { builderPublicKey } = await builder.client.status();
    node = await startClusterNode({
      registry,
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

  async function inPod(
    name: string,
    work: (pod: Awaited<ReturnType<typeof node.cri.runPod>>) => Promise<void>,
  ) {
    const pod = await node.cri.runPod({ name, logDirectory: node.logDirectory });
    try {
      await work(pod);
    } finally {
      await node.cri.removePod(pod);
    }
  }

  test('start from an image of which nothing was unpacked, and see what is in it', async () => {
    const data = randomBytes(DATA_BYTES);
    const image = await withSnapshot('lazy', data);
    await inPod('lazy', async (pod) => {
      await node.cri.pull(image);
      const command = ['/bin/sh', '-c', SCRIPT];
      const output = await node.cri.run(pod, { name: 'first', image, command });
      expect(output).toBe('root:x:0:0:root:/root:/bin/sh\nnew\n/tmp/a\n');
      expect((await node.host.client.status()).traffic.upstreamBytes).toBeLessThan(DATA_BYTES / 2);
      expect(await node.cri.run(pod, { name: 'second', image, command })).toBe(output);
      const [snapshot] = await node.host.client.snapshots();
      expect(snapshot?.path).not.toBeNull();
      expect(snapshot?.residency).toBeLessThan(50);
    });
    await node.cri.removeImage(image);
    await expect.poll(async () => (await node.snapshots()).size, { timeout: 20_000 }).toBe(1);
  });

  test('start from an image without a snapshot as ever', async () => {
    const image = await push(registry, imageWith(randomBytes(MEBIBYTE)), 'ordinary');
    await inPod('ordinary', async (pod) => {
      await node.cri.pull(image);
      const output = await node.cri.run(pod, { name: 'ordinary', image, command: ['/bin/sh', '-c', SCRIPT] });
      expect(output).toBe('root:x:0:0:root:/root:/bin/sh\nnew\n/tmp/a\n');
    });
    await node.cri.removeImage(image);
  });
});
