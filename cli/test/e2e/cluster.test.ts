import { join } from 'node:path';
import type { SnapshotTrace } from '@drakkar/client';
import {
  type FaultyProxy,
  noise,
  pushImage,
  type Registry,
  startFaultyProxy,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import type { Supernode } from '@drakkar/supernode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memberOf, startSupernodeIn } from '../kit/cluster.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('hosts of one cluster (need root)', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let proxy: FaultyProxy;
  let supernode: Supernode;

  beforeAll(async () => {
    registry = running.use(await startRegistry());
    proxy = running.use(await startFaultyProxy(registry.url));
    const { path } = running.use(await temporaryDirectory('cluster'));
    supernode = running.use(await startSupernodeIn(join(path, 'supernode')));
  });

  afterAll(() => running[Symbol.asyncDispose]());

  async function addHost(name: string): Promise<Host> {
    const host = await startHost({ ...memberOf(supernode, name), native: { backend: 'fanotify' } });
    running.use(host);
    await expect.poll(async () => (await host.client.status()).swarm?.supernode.up).toBe(true);
    return host;
  }

  test('start lazily what one of them has built, though nothing was pushed and nobody is trusted', async () => {
    const image = await pushShell('shell');
    const [builder, other] = [await addHost('builder'), await addHost('other')];
    expect(await run(builder, image)).toMatchObject({ found: 'built' });
    await expect.poll(announced).toBe(1);
    const before = proxy.requests('GET');
    const report = await run(other, image);
    expect(report).toMatchObject({ found: 'cluster', exitCode: 0, receipt: { upstreamBytes: 0 } });
    // All that the registry was asked is what the tag means.
    expect(proxy.requests('GET')).toBe(before);
    const [snapshot] = await other.client.snapshots();
    expect(snapshot).toMatchObject({ origin: 'cluster', offlineReady: false });
    expect(snapshot?.residency).toBeLessThan(0.5);
    const moments = Object.fromEntries(
      report.marks.map(({ name, atMs }: { name: string; atMs: number }) => [name, Math.round(atMs)]),
    );
    console.log('start on a host that had nothing, in ms:', moments);
    expect(await run(other, image)).toMatchObject({ found: 'here' });
  });

  test('learn from each other what starts read, and fetch it before it is asked for', async () => {
    const image = await pushShell('learning');
    const [builder, first, second] = [
      await addHost('learning-builder'),
      await addHost('learning-first'),
      await addHost('learning-second'),
    ];
    await run(builder, image);
    await expect.poll(announced).toBe(2);
    await run(first, image);
    const traceOn = async (host: Host) =>
      JSON.parse((await host.drakkar('--json', 'snapshot', 'trace', image)).stdout) as SnapshotTrace;
    await expect.poll(async () => (await traceOn(first)).starts.length).toBe(1);
    const learned = await traceOn(first);
    expect(learned.starts[0]).toMatchObject({ prefetchedBlocks: 0 });
    expect(learned.ranges.flatMap(({ paths }) => paths)).toContain('bin/dash');

    const { found, receipt } = await run(second, image);
    expect(found).toBe('cluster');
    // What was fetched ahead of the mount is counted once.
    expect(receipt.peerBytes).toBeGreaterThan(0);
    expect(receipt.storeBytes).toBeLessThan(64 * 1024);
    await expect.poll(async () => (await traceOn(second)).starts.length).toBe(1);
    const [start] = (await traceOn(second)).starts;
    expect(start?.prefetchedBlocks).toBeGreaterThan(0);
    console.log('on the second host:', start);
    const { stdout } = await second.drakkar('snapshot', 'trace', image);
    expect(stdout).toMatch(/\/bin\/dash/);
    expect(stdout).toMatch(/a start .* ago read .* blocks?: \d+ % were here/);
  });

  /** An image with much that no start reads. */
  async function pushShell(repository: string): Promise<string> {
    const ballast = Array.from({ length: 8 }, (_, index) => ({
      name: `ballast/${index}`,
      data: noise(2_000_000, `${repository} ${index}`),
    }));
    await pushImage(registry.url, shellImage({}, ballast), { repository, tag: 'latest' });
    return `${proxy.host}/${repository}:latest`;
  }

  async function run(host: Host, image: string) {
    const { stdout, stderr } = await host.drakkar('--json', 'run', '--net', 'none', image);
    expect(stderr).toContain('ready');
    return JSON.parse(stdout);
  }

  /** How many snapshots the supernode knows. */
  async function announced(): Promise<number> {
    const text = await (await fetch(supernode.status().metricsUrl)).text();
    return Number(/^drakkar_supernode_snapshots (\d+)$/m.exec(text)?.[1]);
  }
});
