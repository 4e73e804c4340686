import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type JobDocument, SupernodeClient } from '@drakkar/client';
import { noise, pushImage, type Registry, startRegistry, temporaryDirectory } from '@drakkar/lab';
import type { Supernode } from '@drakkar/supernode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memberOf, startSupernodeIn } from '../kit/cluster.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const SOON = { timeout: 60_000, interval: 50 };

describe.skipIf(!isRoot)('jobs of a cluster (need root)', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let supernode: Supernode;
  let directory: string;
  let client: SupernodeClient;
  const hosts: Host[] = [];

  beforeAll(async () => {
    registry = running.use(await startRegistry());
    directory = join(running.use(await temporaryDirectory('jobs')).path, 'supernode');
    supernode = await startSupernodeIn(directory);
    running.defer(() => supernode[Symbol.asyncDispose]());
    client = new SupernodeClient({ socketPath: join(directory, 'admin.sock') });
    for (const [name, roles] of [
      ['builder', ['builder']],
      ['seed', ['seed']],
      ['plain', []],
    ] as const) {
      const { swarm, ...rest } = memberOf(supernode, name);
      hosts.push(running.use(await startHost({ ...rest, swarm: { ...swarm, roles } })));
    }
    const signal = AbortSignal.timeout(SOON.timeout);
    while ((await client.status()).hosts < 3) await delay(SOON.interval, undefined, { signal });
  });
  afterAll(() => running[Symbol.asyncDispose]());

  async function pushShell(repository: string): Promise<string> {
    const ballast = Array.from({ length: 4 }, (_, index) => ({
      name: `ballast/${index}`,
      data: noise(1_000_000, `${repository} ${index}`),
    }));
    await pushImage(registry.url, shellImage({}, ballast), { repository, tag: 'latest' });
    return `${registry.host}/${repository}:latest`;
  }

  async function ended(job: JobDocument): Promise<JobDocument> {
    const isEnded = async () =>
      ['succeeded', 'failed', 'cancelled'].includes((await client.job(job.id)).state);
    await expect.poll(isEnded, SOON).toBe(true);
    return await client.job(job.id);
  }

  test('build a snapshot once, on a builder', async () => {
    const image = await pushShell('built');
    const job = await ended(await client.createJob({ kind: 'build', image }));
    expect(job).toMatchObject({
      state: 'succeeded',
      build: { name: 'builder' },
      snapshot: { found: 'built' },
    });
    const again = await ended(await client.createJob({ kind: 'build', image }));
    expect(again).toMatchObject({ state: 'succeeded', build: null, snapshot: { found: 'cluster' } });
    expect(again.snapshot?.layout).toBe(job.snapshot?.layout);
  });

  test('bring a snapshot to every host, of which the registry gives each byte once', async () => {
    const image = await pushShell('preheated');
    const job = await ended(await client.createJob({ kind: 'preheat', image }));
    expect(job).toMatchObject({ state: 'succeeded', hosts: { total: 3, succeeded: 3 } });
    expect(job.bytes.upstream).toBe(0);
    for (const host of hosts) {
      const found = (await host.client.snapshots()).find((snapshot) => snapshot.image.includes('preheated'));
      expect(found).toMatchObject({ offlineReady: true });
    }
  });

  test('bring what a start needs, and layers, to those hosts that are named', async () => {
    const image = await pushShell('parts');
    const start = await ended(
      await client.createJob({ kind: 'preheat', image, content: 'start', target: { role: 'seed' } }),
    );
    expect(start).toMatchObject({ state: 'succeeded', hosts: { total: 1 } });
    expect((await client.jobHosts(start.id)).map(({ name }) => name)).toEqual(['seed']);
    const layers = await ended(
      await client.createJob({ kind: 'preheat', image, content: 'layers', target: { hosts: 2 } }),
    );
    expect(layers).toMatchObject({ state: 'succeeded', hosts: { succeeded: 2 } });
  });

  test('take an image away again, and fail where nothing was', async () => {
    const image = await pushShell('evicted');
    await ended(await client.createJob({ kind: 'preheat', image, content: 'layers' }));
    const evict = await ended(await client.createJob({ kind: 'evict', image }));
    expect(evict).toMatchObject({ state: 'succeeded', hosts: { succeeded: 3 } });
    expect(evict.bytes.size).toBeGreaterThan(3 * 4_000_000);
    const nothing = await ended(await client.createJob({ kind: 'evict', image }));
    expect(nothing).toMatchObject({ state: 'failed', error: { code: 'not_found' } });
  });

  test('take away the layers, too, of what a host has built', async () => {
    const blobs = async () => {
      const all = await Promise.all(hosts.map((host) => host.client.blobs()));
      return all.flat().length;
    };
    const before = await blobs();
    const image = await pushShell('built-and-evicted');
    await ended(await client.createJob({ kind: 'preheat', image }));
    expect(await blobs()).toBeGreaterThan(before);
    await ended(await client.createJob({ kind: 'evict', image }));
    expect(await blobs()).toBeLessThanOrEqual(before);
  });

  test('take an image away also when its registry is away, and its tag has moved', async () => {
    await using other = await startRegistry();
    const image = `${other.host}/away:latest`;
    const push = async (words: string) => {
      const data = noise(3_000_000, words);
      await pushImage(other.url, shellImage({}, [{ name: 'data', data }]), {
        repository: 'away',
        tag: 'latest',
      });
    };
    await push('one');
    await ended(await client.createJob({ kind: 'preheat', image }));
    await ended(await client.createJob({ kind: 'preheat', image, content: 'layers' }));
    // Of what it means then only one host hears, by itself.
    await push('two');
    const [, , host] = hosts as [Host, Host, Host];
    await host.client.pull({ image });
    await other.stop();
    const evict = await ended(await client.createJob({ kind: 'evict', image }));
    expect(evict).toMatchObject({ state: 'succeeded', hosts: { succeeded: 3 } });
    const sizes = (await client.jobHosts(evict.id)).map(({ name, sizeBytes }) => [name, sizeBytes] as const);
    for (const [name, sizeBytes] of sizes) expect(sizeBytes, name).toBeGreaterThan(6_000_000);
    expect(Object.fromEntries(sizes).plain).toBeGreaterThan(9_000_000);
    for (const { client: daemon } of hosts) {
      const left = (await daemon.snapshots()).filter((snapshot) => snapshot.image.includes('/away'));
      expect(left).toEqual([]);
    }
  });

  test('say why they failed', async () => {
    const missing = await ended(await client.createJob({ kind: 'build', image: `${registry.host}/none:1` }));
    expect(missing).toMatchObject({ state: 'failed', error: { code: 'not_found' } });
    // A host that remembers how it ended does it again all the same.
    await pushImage(registry.url, shellImage(), { repository: 'none', tag: '1' });
    expect(await ended(await client.actOnJob(missing.id, 'retry'))).toMatchObject({
      state: 'succeeded',
      error: null,
    });
    await expect(client.createJob({ kind: 'build', image: 'NOT AN IMAGE' })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    await expect(client.job('01jdx000000000000000000000')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('are given from the command line, which waits for them and says what failed', async () => {
    const image = await pushShell('commanded');
    const config = join(directory, 'supernode.json');
    await writeFile(config, JSON.stringify({ stateDirectory: directory }));
    const drakkar = (...args: string[]) => hosts[0]?.drakkar(...args, '--config', config);
    const preheat = await drakkar('preheat', image, '--content', 'layers', '--role', 'seed');
    expect(preheat).toMatchObject({ code: 0, stdout: expect.stringContaining('1 of 1 hosts have it') });
    const missing = await drakkar('preheat', `${registry.host}/none:2`);
    expect(missing).toMatchObject({ code: 3, stderr: expect.stringContaining('none:2') });
    expect(await drakkar('preheat', image, '--label', 'nothing')).toMatchObject({ code: 2 });
    const keep = await drakkar('--json', 'preheat', image, '--keep', '--parallelism', '50%');
    const job = JSON.parse(keep?.stdout ?? '') as JobDocument;
    expect(job).toMatchObject({ state: 'keeping', hosts: { succeeded: 3 } });
    expect((await drakkar('jobs'))?.stdout).toMatch(new RegExp(`${job.id} +preheat +keeping +3 of 3`));
    expect((await drakkar('jobs', 'show', job.id))?.stdout).toMatch(/builder +succeeded/);
    expect((await drakkar('jobs', '--active'))?.stdout.match(/preheat|build|evict/g)).toEqual(['preheat']);
    expect(await drakkar('jobs', 'cancel', job.id)).toMatchObject({ code: 0 });
    expect(await drakkar('jobs', 'rm', job.id)).toMatchObject({ code: 0 });
    expect(await drakkar('jobs', 'show', job.id)).toMatchObject({ code: 3 });
    expect((await drakkar('snapshot', 'ls', '--cluster'))?.stdout).toContain(`${registry.host}/preheated`);
    expect((await drakkar('supernode', 'status'))?.stdout).toContain('3 connected');
    expect((await drakkar('top', '--cluster', '--once'))?.stdout).toMatch(/3, 0 away/);
    expect((await drakkar('hosts'))?.stdout).toMatch(/builder +connected/);
    const token = await drakkar('token', 'create', 'ci', '--role', 'operator', '--ttl', '1h');
    expect(token?.stdout).toMatch(/^drk_/);
    expect((await drakkar('token', 'ls'))?.stdout).toMatch(/ci +operator/);
  });

  describe('that keep bring a host in line again', () => {
    const isWhole = async (host: Host, repository: string) =>
      (await host.client.snapshots().catch(() => [])).some(
        ({ image, offlineReady }) => image.includes(repository) && offlineReady,
      );
    const keep = async (repository: string, more: { checkMs?: number } = {}) => {
      const image = await pushShell(repository);
      const { id } = await client.createJob({ kind: 'preheat', image, keep: true, ...more });
      await expect.poll(async () => (await client.job(id)).state, SOON).toBe('keeping');
      expect((await client.job(id)).hosts.succeeded).toBe(3);
      return id;
    };
    const keeps = async (id: string) => {
      const { state, hosts: sums } = await client.job(id);
      return state === 'keeping' && sums.succeeded === 3;
    };

    test('that has evicted it', async () => {
      const id = await keep('kept', { checkMs: 2_000 });
      const [, , host] = hosts as [Host, Host, Host];
      const found = (await host.client.snapshots()).find((snapshot) => snapshot.image.includes('kept'));
      await host.client.removeSnapshot(found?.manifestDigest ?? '');
      await expect.poll(() => isWhole(host, 'kept'), SOON).toBe(true);
      await expect.poll(() => keeps(id), SOON).toBe(true);
      await client.actOnJob(id, 'cancel');
    });

    test('all of them, where somebody has had all of them give it up', async () => {
      const id = await keep('given-up');
      const { spec } = await client.job(id);
      const image = 'image' in spec ? (spec.image ?? '') : '';
      expect(await ended(await client.createJob({ kind: 'evict', image }))).toMatchObject({
        state: 'succeeded',
      });
      for (const host of hosts) await expect.poll(() => isWhole(host, 'given-up'), SOON).toBe(true);
      await expect.poll(() => keeps(id), SOON).toBe(true);
      await client.actOnJob(id, 'cancel');
    });

    test('that comes back with an empty disk', async () => {
      const id = await keep('replaced');
      const [, , host] = hosts as [Host, Host, Host];
      await host.kill('daemon');
      for (const name of await readdir(host.state))
        if (name.endsWith('.sqlite') || name.includes('.sqlite-') || name === 'blobs')
          await rm(join(host.state, name), { recursive: true });
      const volumes = join(host.state, 'volumes');
      for (const name of await readdir(volumes)) await rm(join(volumes, name), { recursive: true });
      await host.start();
      await expect.poll(() => isWhole(host, 'replaced'), SOON).toBe(true);
      await expect.poll(() => keeps(id), SOON).toBe(true);
      await client.actOnJob(id, 'cancel');
    });
  });

  test('are the same for who asks again, and go on after the supernode was away', async () => {
    const image = await pushShell('again');
    const job = await client.createJob({ kind: 'preheat', image }, 'request-1');
    expect((await client.createJob({ kind: 'preheat', image }, 'request-1')).id).toBe(job.id);
    const port = Number(/:(\d+)\//.exec(supernode.status().address)?.[1]);
    await supernode[Symbol.asyncDispose]();
    supernode = await startSupernodeIn(directory, port);
    expect(await ended(job)).toMatchObject({ state: 'succeeded', hosts: { succeeded: 3 } });
    expect((await client.createJob({ kind: 'preheat', image }, 'request-1')).id).toBe(job.id);
  });
});
