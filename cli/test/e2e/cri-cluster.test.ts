import { randomBytes } from 'node:crypto';
import { SupernodeClient } from '@drakkar/client';
import { type Registry, sleepFile, startRegistry, temporaryDirectory } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memberOf, startSupernodeIn } from '../kit/cluster.ts';
import { type ClusterNode, startClusterNode } from '../kit/cluster-node.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const DATA_BYTES = 16 * 1024 * 1024;
const COMMAND = ['/bin/sh', '-c', 'read line < /etc/passwd; echo $line'];
const SAID = 'root:x:0:0:root:/root:/bin/sh\n';
const SOON = { timeout: 60_000, interval: 100 };

describe.skipIf(!isRoot)('pods of two nodes of a cluster (need root)', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let supernode: SupernodeClient;
  let builder: Host;
  let nodes: readonly [ClusterNode, ClusterNode];

  beforeAll(async () => {
    registry = running.use(await startRegistry());
    const { path } = running.use(await temporaryDirectory('cri-cluster'));
    const member = running.use(await startSupernodeIn(path));
    supernode = new SupernodeClient({ socketPath: `${path}/admin.sock` });
    const swarm = (name: string, roles: readonly string[] = []) => {
      const { swarm: settings, ...rest } = memberOf(member, name);
      return { ...rest, swarm: { ...settings, roles }, registries: { plainHttp: [registry.host] } };
    };
    builder = running.use(await startHost(swarm('builder', ['builder'])));
    const node = async (name: string) =>
      running.use(
        await startClusterNode({
          registry,
          mirror: true,
          config: { ...swarm(name), containerd: { buildDelayMs: 0 } },
        }),
      );
    nodes = [await node('one'), await node('other')];
  });
  afterAll(() => running[Symbol.asyncDispose]());

  const start = (node: ClusterNode, image: string, name: string) =>
    node.inPod({ name }, async (pod) => {
      await node.cri.pull(image);
      return await node.cri.run(pod, { name, image, command: COMMAND });
    });

  test('start an image that nobody has prepared: the first unpacks it, a builder makes its snapshot, and the next start lazily', async () => {
    const [one, other] = nodes;
    const image = await push(
      registry,
      shellImage({}, [sleepFile(), { name: 'data', data: randomBytes(DATA_BYTES) }]),
      'cri-cluster',
    );
    expect(await start(one, image, 'first')).toBe(SAID);
    const repository = image.replace(/:latest$/, '@');
    const built = async () => {
      const { data } = await supernode.api.GET('/api/v1/jobs', { params: { query: { limit: 100 } } });
      return data?.items.find(({ spec }) => 'image' in spec && spec.image.startsWith(repository))?.state;
    };
    await expect.poll(built, SOON).toBe('succeeded');
    const originAt = async ({ client }: Host) =>
      (await client.snapshots()).find(({ image: name }) => name.startsWith(repository))?.origin;
    expect(await originAt(builder)).toBe('built');
    const before = await trafficOf(other);
    expect(await start(other, image, 'second')).toBe(SAID);
    const { upstreamBytes, peerBytes } = await trafficOf(other);
    expect(upstreamBytes - before.upstreamBytes).toBeLessThan(DATA_BYTES / 4);
    expect(peerBytes - before.peerBytes).toBeLessThan(DATA_BYTES / 2);
    expect(await originAt(other.host)).toBe('cluster');
    for (const { cri } of nodes) await cri.removeImage(image);
  });
});

async function trafficOf({ host }: ClusterNode) {
  const { traffic, swarm } = await host.client.status();
  return { upstreamBytes: traffic.upstreamBytes, peerBytes: swarm?.receivedBytes ?? 0 };
}
