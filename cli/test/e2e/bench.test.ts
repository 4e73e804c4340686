import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SupernodeClient } from '@drakkar/client';
import {
  mountsBelow,
  noise,
  pushImage,
  type Registry,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import type { Supernode } from '@drakkar/supernode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FleetResult } from '../../src/bench/result.ts';
import { memberOf, startSupernodeIn } from '../kit/cluster.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const SOON = { timeout: 30_000, interval: 50 };
const SIZE = 8_000_000;

describe.skipIf(!isRoot)('a running cluster is measured (needs root)', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let supernode: Supernode;
  let directory: string;
  let config: string;
  let client: SupernodeClient;
  let one: Host;
  let two: Host;

  beforeAll(async () => {
    registry = running.use(await startRegistry());
    directory = running.use(await temporaryDirectory('bench')).path;
    const state = join(directory, 'supernode');
    supernode = await startSupernodeIn(state);
    running.defer(() => supernode[Symbol.asyncDispose]());
    client = new SupernodeClient({ socketPath: join(state, 'admin.sock') });
    config = join(directory, 'supernode.json');
    await writeFile(config, JSON.stringify({ stateDirectory: state }));
    const start = async (name: string, more: object) => {
      const { swarm, ...rest } = memberOf(supernode, name);
      const roles = name === 'shy' ? ['builder'] : [];
      return running.use(await startHost({ ...rest, ...more, swarm: { ...swarm, roles } }));
    };
    const measurements = { allowed: true, mostBytes: '64MiB', withinMs: 60_000 };
    one = await start('one', { measurements });
    two = await start('two', { measurements });
    await start('shy', {});
    await connected(3);
  });
  afterAll(() => running[Symbol.asyncDispose]());

  const connected = async (hosts: number) => {
    const signal = AbortSignal.timeout(SOON.timeout);
    while ((await client.status()).hosts < hosts) await delay(SOON.interval, undefined, { signal });
  };

  async function pushShell(repository: string): Promise<string> {
    const data = noise(SIZE, repository);
    await pushImage(registry.url, shellImage({}, [{ name: 'ballast', data }]), { repository, tag: 'latest' });
    return `${registry.host}/${repository}:latest`;
  }

  let outputs = 0;
  async function bench(...args: string[]) {
    outputs += 1;
    const output = join(directory, `output-${outputs}`);
    const outcome = await one.drakkar('bench', ...args, '--output', output, '--config', config);
    const name = `fleet-${args[0]}`;
    const read = async () => JSON.parse(await readFile(join(output, `${name}.json`), 'utf8')) as FleetResult;
    return { ...outcome, output, result: outcome.code === 2 ? undefined : await read() };
  }

  const blobsOf = async (host: Host) => (await host.client.blobs()).map(({ digest }) => digest).sort();
  const leavesNothing = (host: Host, before: readonly string[]) =>
    expect.poll(() => blobsOf(host), SOON).toEqual(before);

  test('by a pull, which begins from nothing each time, comes from the registry once, and leaves nothing', async () => {
    const image = await pushShell('pulled');
    const before = await Promise.all([one, two].map(blobsOf));
    const { code, stdout, stderr, output, result } = await bench(
      'pull',
      image,
      '--hosts',
      'one,two',
      '--rounds',
      '2',
    );
    expect(code, stdout + stderr).toBe(0);
    expect(result?.failures).toEqual([]);
    expect(result?.series.map(({ name, samples }) => [name, samples.length])).toEqual([
      ['one', 2],
      ['two', 2],
    ]);
    for (const round of [0, 1]) {
      const samples =
        result?.series.flatMap((series) => series.samples).filter((each) => each.round === round) ?? [];
      expect(samples.map(({ hereBytes, joinedBytes }) => [hereBytes, joinedBytes])).toEqual([
        [0, 0],
        [0, 0],
      ]);
      const sum = (bytes: (sample: (typeof samples)[number]) => number) =>
        samples.reduce((total, sample) => total + bytes(sample), 0);
      expect(sum(({ upstreamBytes, peerBytes }) => upstreamBytes + peerBytes)).toBeGreaterThan(2 * SIZE);
      expect(sum(({ upstreamBytes }) => upstreamBytes)).toBeLessThan(1.5 * SIZE);
    }
    for (const plot of ['', '-distribution', '-bytes'])
      expect(await readFile(join(output, `fleet-pull${plot}.svg`), 'utf8')).toMatch(/^<svg/);
    expect(stdout).toMatch(/median .* the slowest/);
    await leavesNothing(one, before[0] ?? []);
    await leavesNothing(two, before[1] ?? []);
  });

  test('of hosts that allow it alone; of the others it is said why not', async () => {
    const image = await pushShell('refused');
    const [{ code, stdout, result }, all] = await Promise.all([
      bench('pull', image, '--hosts', 'one,shy,nobody'),
      bench('pull', `${registry.host}/none:1`, '--hosts', 'all'),
    ]);
    expect(code).toBe(3);
    expect(result?.series.map(({ name }) => name)).toEqual(['one']);
    expect(result?.failures).toMatchObject([
      { host: 'nobody', round: null, code: 'not_found' },
      { host: 'shy', round: 0, code: 'forbidden', hint: expect.stringContaining('measurements.allowed') },
    ]);
    expect(stdout).toMatch(/shy, round 1: this host is not to be measured/);
    expect([all.code, all.result?.failures]).toMatchObject([3, [{ host: 'all', code: 'not_found' }]]);
  });

  test('where the image is already only if that is asked for, and it stays', async () => {
    const image = await pushShell('present');
    await one.client.pull({ image });
    const before = await blobsOf(one);
    const cold = await bench('pull', image, '--hosts', 'one');
    expect([cold.code, cold.result?.failures]).toMatchObject([8, [{ host: 'one', code: 'already_exists' }]]);
    const { code, result } = await bench('pull', image, '--hosts', 'one', '--warm');
    const [sample] = result?.series[0]?.samples ?? [];
    expect(code).toBe(0);
    expect(sample).toMatchObject({ upstreamBytes: 0, peerBytes: 0 });
    expect(sample?.hereBytes).toBe(sample?.sizeBytes);
    expect(await blobsOf(one)).toEqual(before);
  });

  test('within bounds of bytes and time, at a rate', async () => {
    const image = await pushShell('bounded');
    const before = await blobsOf(one);
    const [much, slow, hostsLimit, nonsense] = await Promise.all([
      bench('pull', image, '--hosts', 'two', '--most', '1MB'),
      bench('pull', image, '--hosts', 'one', '--rate', '200kB', '--within', '1s'),
      bench('pull', image, '--hosts', 'two', '--within', '1h'),
      bench('pull', image, '--hosts', 'one', '--rate', 'fast'),
    ]);
    expect([much.code, much.result?.failures]).toMatchObject([6, [{ host: 'two', code: 'limit_exceeded' }]]);
    expect([slow.code, slow.result?.failures]).toMatchObject([5, [{ host: 'one', code: 'timeout' }]]);
    expect([hostsLimit.code, hostsLimit.result?.failures]).toMatchObject([6, [{ host: 'two' }]]);
    expect(nonsense.code).toBe(2);
    const { code, result } = await bench('pull', image, '--hosts', 'two', '--rate', '5MB');
    expect(code).toBe(0);
    expect(result?.series[0]?.samples[0]?.wallMs).toBeGreaterThan(1_000);
    await leavesNothing(one, before);
  });

  test('by a start, which runs nothing, and leaves neither mount nor snapshot', async () => {
    const image = await pushShell('started');
    const none = await bench('start', image, '--hosts', 'one,two');
    expect([none.code, none.result?.failures]).toMatchObject([3, [{ host: 'all', code: 'not_found' }]]);
    const { id } = await client.createJob({ kind: 'build', image });
    await expect.poll(async () => (await client.job(id)).state, SOON).toBe('succeeded');
    const before = await Promise.all([one, two].map(blobsOf));
    const { code, stdout, stderr, result } = await bench('start', image, '--hosts', 'one,two');
    expect(code, stdout + stderr).toBe(0);
    const samples = result?.series.flatMap((series) => series.samples) ?? [];
    expect(samples).toHaveLength(2);
    for (const { mountedMs, wallMs, hereBytes } of samples) {
      expect(mountedMs).toBeGreaterThan(0);
      expect(wallMs).toBeGreaterThanOrEqual(mountedMs ?? 0);
      expect(hereBytes).toBe(0);
    }
    for (const [index, host] of [one, two].entries()) {
      await leavesNothing(host, before[index] ?? []);
      expect((await host.client.snapshots()).map((snapshot) => snapshot.image)).toEqual([]);
      expect(mountsBelow(host.directory)).toEqual([]);
    }
  });

  test('and nothing is left where the client is killed, or another host', async () => {
    const image = await pushShell('killed');
    const before = await blobsOf(one);
    const slowly = [
      'pull',
      image,
      '--rate',
      '100kB',
      '--within',
      '2s',
      '--output',
      directory,
      '--config',
      config,
    ];
    const [program, ...args] = one.command('bench', ...slowly, '--hosts', 'one,two');
    const isMeasuring = async () =>
      (await client.jobs({ active: true })).some(({ hosts }) => hosts.running === 2);
    const begin = async () => {
      const child = spawn(program, args, { stdio: 'ignore' });
      await expect.poll(isMeasuring, SOON).toBe(true);
      return { child, closed: once(child, 'close') };
    };
    const killed = await begin();
    killed.child.kill('SIGKILL');
    await expect.poll(async () => (await client.jobs({ active: true })).length, SOON).toBe(0);
    const interrupted = await begin();
    interrupted.child.kill('SIGINT');
    expect((await interrupted.closed)[0]).toBe(130);
    expect((await client.jobs({ active: true })).length).toBe(0);
    await begin();
    await two.kill('daemon');
    await two.start();
    await expect.poll(async () => (await client.jobs({ active: true })).length, SOON).toBe(0);
    await leavesNothing(one, before);
  });
});
