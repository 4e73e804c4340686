import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  compareTrees,
  hostArchitecture,
  imageOf,
  indexOf,
  layerOf,
  noise,
  pushImage,
  tarArchive,
} from '@drakkar/lab';
import { type DeviceRange, formatPlatform, hostPlatform, parseReference } from '@drakkar/protocol';
import { type Inode, readErofs } from '@drakkar/snapshotter';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newReceipt, SMALLEST_SHARED_BYTES } from '../../src/content/index.ts';
import { buildName } from '../../src/snapshots/build-name.ts';
import { type SnapshotRecord, startKeyOf } from '../../src/snapshots/index.ts';
import {
  blobsOf,
  chunkListOf,
  filesOf,
  isLocal,
  type Cluster as KnownCluster,
} from '../../src/snapshots/modules.ts';
import type { FoundSnapshot } from '../../src/swarm/index.ts';
import { type Cluster, type ClusterHost, startCluster } from '../kit/cluster.ts';
import {
  builderKey,
  type SnapshotHost,
  type SnapshotHostOptions,
  startSnapshotHost,
} from '../kit/snapshots.ts';

let running: AsyncDisposableStack;
let cluster: Cluster;
let images = 0;

beforeEach(() => {
  running = new AsyncDisposableStack();
});
afterEach(() => running[Symbol.asyncDispose]());

const start = async (snapshots: object = {}) => {
  cluster = running.use(await startCluster({ snapshots }));
};

interface Host {
  readonly member: ClusterHost;
  readonly host: SnapshotHost;
}

async function addHost(options: SnapshotHostOptions = {}, member?: ClusterHost): Promise<Host> {
  const joined = member ?? running.use(await cluster.host());
  const parts = { ...joined, cluster: joined.swarm.snapshots, builds: joined.swarm.names, ...options.member };
  return { member: joined, host: running.use(await startSnapshotHost({ ...options, member: parts })) };
}

const layers = (name: string) =>
  [0, 1].map((layer) =>
    layerOf(
      tarArchive(
        Array.from({ length: 6 }, (_, index) => ({
          name: `layer-${layer}/file-${index}`,
          data: noise(50_000 + index * 20_000, `${name} ${layer} ${index}`),
        })),
      ),
    ),
  );

const imageNamed = (name: string) => imageOf({ layers: layers(name), architecture: hostArchitecture() });

async function pushed(image: Parameters<typeof pushImage>[1], tag = 'latest'): Promise<string> {
  const repository = `apps/app-${++images}`;
  await pushImage(cluster.registry.url, image, { repository, tag });
  return `${cluster.proxy.host}/${repository}:${tag}`;
}

/** Whether the supernode knows a snapshot of it, as a host is told. */
const isKnown = async ({ member }: Host, name: string, root: string) =>
  typeof (await member.swarm.snapshots.layoutOf(
    { repository: parseReference(name), platform: formatPlatform(hostPlatform()), root: root as never },
    new AbortController().signal,
  )) === 'string';

/** One host builds it, and has told the cluster. */
async function build(name: string, options: SnapshotHostOptions = {}) {
  const builder = await addHost(options);
  const { record, found } = await builder.host.acquire(name);
  expect(found).toBe('built');
  await expect.poll(() => isKnown(builder, name, record.rootDigest)).toBe(true);
  return { ...builder, record };
}

describe('hosts that would build the same at the same time', () => {
  test('have one of them build it, and the registry give each byte once', async () => {
    await start();
    const name = await pushed(imageNamed('together'));
    const hosts = [await addHost(), await addHost(), await addHost()];
    const acquired = await Promise.all(hosts.map(({ host }) => host.acquire(name)));
    expect(acquired.map(({ found }) => found).sort()).toEqual(['built', 'cluster', 'cluster']);
    const configs = acquired.map(({ record }) => record.config.meta.rawDigest);
    expect(new Set(configs).size).toBe(1);
  });

  test('do so in turn where the one whose turn it is gives up', async () => {
    await start();
    const name = await pushed(imageNamed('in turn'));
    const [first, second] = [await addHost(), await addHost()];
    const work = new AbortController();
    const { registry, repository } = parseReference(name);
    const { digest } = await first.host.client.resolve({ registry, repository }, 'latest');
    const key = buildName(registry, digest, formatPlatform(hostPlatform()));
    // It would build it, and does not get on.
    const turn = first.member.swarm.names.ask(key, 1_000_000_000);
    expect(await turn.meaning(work.signal)).toBeUndefined();
    const waiting = second.host.acquire(name);
    await expect.poll(() => second.member.swarm.status().supernode.up).toBe(true);
    turn[Symbol.dispose]();
    expect((await waiting).found).toBe('built');
  });
});

describe('a snapshot that one host has built', () => {
  test('is found by others though nobody has pushed it or trusts anybody, and the registry gives nothing of it', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const builder = await build(name);
    const before = cluster.proxy.requests('GET');
    const lazy = await addHost();
    const { found, record, work } = await lazy.host.acquire(name, { extent: 'meta' });
    expect(found).toBe('cluster');
    expect(record).toMatchObject({ config: builder.record.config, signer: builder.record.signer });
    expect(cluster.proxy.requests('GET')).toBe(before);
    expect(work.receipt.summary()).toMatchObject({ upstreamBytes: 0 });
    expect(await isLocal(record.config, 'meta', lazy.host.store)).toBe(true);

    const whole = await addHost();
    const there = await whole.host.acquire(name);
    expect(there.found).toBe('cluster');
    expect(there.work.receipt.summary().upstreamBytes).toBe(0);
    const trees = [
      await whole.host.treeOf(there.record.config),
      await builder.host.treeOf(record.config),
    ] as const;
    expect(compareTrees(...trees)).toEqual([]);
    expect([...lazy.host.warnings, ...whole.host.warnings]).toEqual([]);
    expect((await lazy.host.acquire(name, { extent: 'meta' })).found).toBe('here');
  });

  test('gives its blocks piece by piece, though the registry has none of them', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { record, host } = await build(name);
    const reader = await addHost();
    await reader.host.acquire(name, { extent: 'meta' });
    const [device] = record.config.devices;
    if (device === undefined) throw new Error('no device');
    const table = await host.store.pieceTable(device.piecesDigest);
    const request = {
      image: parseReference(name),
      digest: device.blobDigest,
      sizeBytes: device.blobSizeBytes,
    };
    const receipt = newReceipt();
    await using blob = await reader.host.content.openPieces(
      request,
      { digest: device.piecesDigest, table },
      receipt,
    );
    const signal = AbortSignal.timeout(20_000);
    await blob.want([1], { urgent: true, signal });
    expect(receipt.summary()).toMatchObject({ upstreamBytes: 0, peerBytes: table.pieces[1]?.length });
  });

  test('has piece tables and a chunk list that come from hosts where they were evicted, however small', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { record } = await build(name);
    const { host } = await addHost();
    const { config } = (await host.acquire(name, { extent: 'meta' })).record;
    expect(config).toEqual(record.config);
    const { signal } = new AbortController();
    for (const { digest, sizeBytes } of [...config.devices.flatMap(blobsOf), ...chunkListOf(config)]) {
      if (sizeBytes >= SMALLEST_SHARED_BYTES) continue;
      if (host.store.has(digest)) host.store.remove(digest);
      const receipt = newReceipt();
      await host.content.fetch({ image: parseReference(name), digest, sizeBytes }, receipt, { signal });
      expect(receipt.summary()).toMatchObject({ upstreamBytes: 0, peerBytes: sizeBytes });
    }
  });

  test('is found under an index, and under another index by its manifest', async () => {
    await start();
    const image = imageNamed('app');
    const architecture = hostArchitecture();
    const one = await pushed(indexOf([{ image, architecture }]));
    const other = indexOf([
      { image, architecture },
      { image: imageNamed('other'), architecture: 'riscv64' },
    ]);
    const { repository } = parseReference(one);
    await pushImage(cluster.registry.url, other, { repository, tag: 'other' });
    await build(one);
    const host = await addHost();
    const before = cluster.proxy.requests('GET');
    expect((await host.host.acquire(one, { extent: 'meta' })).found).toBe('cluster');
    expect(cluster.proxy.requests('GET')).toBe(before);
    const second = await addHost();
    const byManifest = `${cluster.proxy.host}/${repository}@${image.manifest.digest}`;
    expect((await second.host.acquire(byManifest, { extent: 'meta' })).found).toBe('cluster');
    const third = await addHost();
    expect((await third.host.acquire(one.replace(':latest', ':other'), { extent: 'meta' })).found).toBe(
      'cluster',
    );
  });

  test('and pushed is found in the cluster once a host that trusts its builder has it from the registry', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const key = builderKey();
    const stranger = running.use(await startSnapshotHost({ keys: [key] }));
    await stranger.push(await stranger.acquire(name));
    const trusting = await addHost({ keys: [builderKey(), key] });
    const { found, record } = await trusting.host.acquire(name, { extent: 'meta' });
    expect(found).toBe('registry');
    await expect.poll(() => isKnown(trusting, name, record.rootDigest)).toBe(true);
    const { host } = await addHost();
    const there = await host.acquire(name);
    expect(there).toMatchObject({ found: 'cluster', record: { signer: record.signer } });
    // No host has the devices.
    expect(there.work.receipt.summary().upstreamBytes).toBeGreaterThan(0);
    expect(compareTrees(await host.treeOf(record.config), await stranger.treeOf(record.config))).toEqual([]);
    expect(host.warnings).toEqual([]);
  });

  test('is given to nobody whom the registry does not give the image, though the digest is known', async () => {
    await start();
    const image = imageNamed('app');
    const name = await pushed(image);
    await build(name);
    const { host } = await addHost();
    const elsewhere = `${cluster.proxy.host}/apps/elsewhere@${image.manifest.digest}`;
    await expect(host.acquire(elsewhere, { extent: 'meta' })).rejects.toMatchObject({ code: 'not_found' });
    expect(host.catalogue.list()).toEqual([]);
  });

  test('is known to a supernode that has been started again', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const builder = await build(name);
    await cluster.restartSupernode();
    await expect
      .poll(() => isKnown(builder, name, builder.record.rootDigest), { timeout: 20_000 })
      .toBe(true);
    const host = await addHost();
    expect((await host.host.acquire(name, { extent: 'meta' })).found).toBe('cluster');
  });

  test('is told again to a supernode that has forgotten it', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const builder = await build(name);
    await cluster.restartSupernode((directory) => rm(join(directory, 'snapshots.sqlite')));
    await expect
      .poll(() => isKnown(builder, name, builder.record.rootDigest), { timeout: 20_000 })
      .toBe(true);
  });

  test('is not used where the cluster does not vouch for its builder, unless that is trusted', async () => {
    await start({ builders: ['somebody-else'] });
    const name = await pushed(imageNamed('app'));
    const key = builderKey();
    await build(name, { keys: [key] });
    const stranger = await addHost();
    expect((await stranger.host.acquire(name, { extent: 'meta' })).found).toBe('built');
    expect(stranger.host.warnings).toEqual(['a snapshot of the cluster is not used']);
    const friend = await addHost({ keys: [builderKey(), key] });
    expect((await friend.host.acquire(name, { extent: 'meta' })).found).toBe('cluster');
  });

  test('is not used by a host that does not trust its cluster', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    await build(name);
    const host = await addHost({ trustCluster: false });
    expect((await host.host.acquire(name, { extent: 'meta' })).found).toBe('built');
  });

  test('is forgotten when its builder is revoked', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { member } = await build(name);
    await cluster.operator.revoke(member.swarm.status().peer);
    const host = await addHost();
    expect((await host.host.acquire(name, { extent: 'meta' })).found).toBe('built');
  });

  test('is built anew where all who had it have gone', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { member, host, record } = await build(name);
    const other = await addHost();
    await host[Symbol.asyncDispose]();
    await member[Symbol.asyncDispose]();
    await expect.poll(() => isKnown(other, name, record.rootDigest)).toBe(false);
    expect((await other.host.acquire(name, { extent: 'meta' })).found).toBe('built');
    await expect.poll(() => isKnown(other, name, record.rootDigest)).toBe(true);
  });

  test('is built upon by a host that has only started it, and what is built so is known to all', async () => {
    await start();
    const version = (number: number) =>
      imageOf({
        layers: [
          layerOf(
            tarArchive([
              ...[0, 1, 2].map((index) => ({ name: `${index}`, data: noise(300_000, `part ${index}`) })),
              { name: 'version', data: noise(20_000, `version ${number}`) },
            ]),
          ),
        ],
        architecture: hostArchitecture(),
      });
    const first = await pushed(version(1));
    const { repository } = parseReference(first);
    const next = version(2);
    await pushImage(cluster.registry.url, next, { repository, tag: 'next' });
    const builder = await build(first);
    const other = await addHost();
    await other.host.acquire(first, { extent: 'meta' });
    const later = await other.host.acquire(first.replace(':latest', ':next'), { extent: 'meta' });
    expect(later.found).toBe('built');
    expect(other.host.warnings).toEqual([]);
    const { devices } = later.record.config;
    expect(devices.length).toBe(builder.record.config.devices.length + 1);
    for (const device of builder.record.config.devices) expect(devices).toContainEqual(device);
    await other.host.announcer?.settled();
    expect(await builder.host.acquire(first.replace(':latest', ':next'), { extent: 'meta' })).toMatchObject({
      found: 'cluster',
      record: { config: later.record.config },
    });
  });

  test('is used no longer where it is not all here and all who had it have gone', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { member, host, record } = await build(name);
    const [lazy, whole] = [await addHost(), await addHost()];
    await lazy.host.acquire(name, { extent: 'meta' });
    await whole.host.acquire(name);
    for (const each of [whole.host, whole.member, host, member]) await each[Symbol.asyncDispose]();
    await expect.poll(() => isKnown(lazy, name, record.rootDigest)).toBe(false);
    expect((await lazy.host.acquire(name, { extent: 'meta' })).found).toBe('built');
    expect((await lazy.host.acquire(name, { extent: 'meta' })).found).toBe('here');
  });

  test('is built anew, and reported, where its blobs were evicted', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { host, record } = await build(name);
    // The supernode was told that the registry has them.
    host.announcer?.announce(record, { isPushed: true });
    await host.announcer?.settled();
    for (const { blobDigest } of filesOf(record.config)) host.store.remove(blobDigest);
    const other = await addHost();
    expect((await other.host.acquire(name, { extent: 'meta' })).found).toBe('built');
    expect(other.host.warnings).toEqual(['a snapshot of the cluster is not used']);
  });

  test.each<[string, (found: FoundSnapshot) => FoundSnapshot]>([
    ['another image’s config', (found) => changed(found, { imageConfig: Buffer.from('{}') })],
    ['a manifest that nobody named', (found) => changed(found, { documents: [Buffer.from('{}')] })],
    ['an envelope that was changed', (found) => changed(found, { envelope: flip(found.snapshot.envelope) })],
    ['an artifact that was changed', (found) => changed(found, { artifact: flip(found.snapshot.artifact) })],
    ['no word of the cluster', (found) => ({ ...found, voucher: undefined })],
    ['a word for another builder', (found) => vouched(found, { builder: `${'A'.repeat(43)}=` })],
    ['a word for another image', (found) => vouched(found, { manifest: found.voucher?.envelope })],
    ['a word for another platform', (found) => vouched(found, { platform: 'linux/s390x' })],
  ])('is not used with %s', async (_, tamper) => {
    await start();
    const name = await pushed(imageNamed('app'));
    await build(name);
    const joined = running.use(await cluster.host());
    const { snapshots } = joined.swarm;
    const lying: KnownCluster = {
      find: async (...question) => {
        const found = await snapshots.find(...question);
        return found && tamper(found);
      },
      layoutOf: async () => undefined,
      announce: () => true,
      lost: () => {},
      learned: async () => [],
      reportTrace: () => {},
      onUp: () => {},
    };
    const { host } = await addHost({ member: { ...joined, cluster: lying } }, joined);
    expect((await host.acquire(name, { extent: 'meta' })).found).toBe('built');
    expect(host.warnings[0]).toMatch(/not used/);
  });
});

describe('what starts read', () => {
  test('lies together, in that order, when the image is built again or has a new version', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { host, record } = await build(name);
    const read = ['layer-1/file-3', 'layer-0/file-4'];
    const trace = read.map((path) => placeOf(host, record, path));
    host.learned.report(record.config, startKeyOf(), trace);
    const again = await host.acquire(name, { rebuild: true });
    expect(again.found).toBe('built');
    const [first, second] = read.map((path) => placeOf(host, again.record, path));
    expect(first?.offset).toBe(0);
    expect(second).toMatchObject({ device: first?.device, offset: first?.length });
    expect(host.warnings).toEqual([]);
  });

  test('lies together from when it is learned, for all who start the image then', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const builder = await addHost({ rearrangeDelayMs: 100 });
    const { record } = await builder.host.acquire(name);
    await expect.poll(() => isKnown(builder, name, record.rootDigest)).toBe(true);
    const starter = await addHost();
    const before = await starter.host.acquire(name, { extent: 'meta' });
    const read = ['layer-1/file-3', 'layer-0/file-4'];
    const trace = read.map((path) => placeOf(builder.host, record, path));
    starter.host.learned.report(before.record.config, startKeyOf(), trace);
    const configOf = () => builder.host.catalogue.get(record.manifestDigest)?.config ?? record.config;
    await expect.poll(() => configOf().prefetch).toBeDefined();
    const { devices, prefetch, chunks, meta } = configOf();
    expect(devices.slice(0, -1)).toEqual(record.config.devices);
    expect(chunks).toEqual(record.config.chunks);
    const length = trace.reduce((sum, range) => sum + range.length, 0);
    expect(prefetch).toEqual([{ device: devices.length - 1, offset: 0, length }]);
    expect(await builder.host.treeOf(configOf())).toEqual(await builder.host.treeOf(record.config));

    const other = await addHost();
    const layoutThere = async () =>
      (await other.host.acquire(name, { extent: 'meta' })).record.config.meta.rawDigest;
    await expect.poll(layoutThere).toBe(meta.rawDigest);
    const there = await other.host.acquire(name);
    expect(there.record.config).toEqual(configOf());
    expect(await other.host.learned.find(configOf(), startKeyOf(), new AbortController().signal)).toEqual(
      prefetch,
    );
    expect(await other.host.treeOf(configOf())).toEqual(await builder.host.treeOf(record.config));
    expect([...builder.host.warnings, ...other.host.warnings]).toEqual([]);
  });

  test('stays where it is on devices that another version of the image has, too', async () => {
    await start();
    const repository = `apps/app-${++images}`;
    const names = await Promise.all(
      ['v1', 'v2'].map(async (tag) => {
        const image = imageOf({
          layers: [...layers('app'), ...(tag === 'v1' ? [] : layers('more'))],
          architecture: hostArchitecture(),
        });
        await pushImage(cluster.registry.url, image, { repository, tag });
        return `${cluster.proxy.host}/${repository}:${tag}`;
      }),
    );
    const { host } = await addHost({ rearrangeDelayMs: 100 });
    await host.acquire(names[0] ?? '');
    const { record } = await host.acquire(names[1] ?? '');
    const users = record.config.devices.map(
      ({ rawDigest }) =>
        host.catalogue
          .list()
          .filter(({ config }) => config.devices.some((device) => device.rawDigest === rawDigest)).length,
    );
    const [inBoth, inOne] = [users.indexOf(2), users.indexOf(1)];
    const trace = [inOne, inBoth].map((device) => ({ device, offset: 0, length: 4096 }));
    host.learned.report(record.config, startKeyOf(), trace);
    const configOf = () => host.catalogue.get(record.manifestDigest)?.config ?? record.config;
    await expect.poll(() => configOf().prefetch).toBeDefined();
    expect(configOf().prefetch).toEqual([
      { device: record.config.devices.length, offset: 0, length: expect.any(Number) },
      { device: inBoth, offset: 0, length: 4096 },
    ]);
  });

  test('is learned by the cluster, and comes with the snapshot', async () => {
    await start();
    const name = await pushed(imageNamed('app'));
    const { host, record } = await build(name);
    const key = startKeyOf();
    const trace = [
      { device: 1, offset: 8192, length: 4096 },
      { device: 0, offset: 0, length: 65_536 },
    ];
    host.learned.report(record.config, key, trace, { touchedBlocks: 2, prefetchedBlocks: 0, hits: 0 });
    expect(host.learned.listOf(record.config, key)).toEqual(trace);
    expect(host.learned.starts(record.config)).toMatchObject([{ touchedBlocks: 2, startKey: key }]);
    const other = await addHost();
    const there = await other.host.acquire(name, { extent: 'meta' });
    expect(other.host.learned.listOf(there.record.config, key)).toEqual(trace);
    expect(await other.host.service.trace(name)).toMatchObject({
      manifestDigest: record.manifestDigest,
      ranges: [
        { ...trace[0], paths: [expect.stringContaining('layer-1/')] },
        { ...trace[1], paths: ['layer-0/file-0', expect.stringContaining('layer-0/')] },
      ],
      starts: [],
    });
    const third = await addHost();
    const { signal } = new AbortController();
    expect(await third.host.learned.find(record.config, startKeyOf({ command: ['sh'] }), signal)).toEqual(
      trace,
    );
  });
});

/** Where a file of a snapshot lies. */
function placeOf({ store }: SnapshotHost, { config }: SnapshotRecord, path: string): DeviceRange {
  let inode: Inode | undefined = readErofs(readFileSync(store.pathOf(config.meta.rawDigest))).root;
  for (const name of path.split('/')) {
    inode = inode?.kind === 'directory' ? inode.entries.get(name) : undefined;
  }
  if (inode?.kind !== 'file') throw new Error(`there is no ${path}`);
  const [run] = inode.content.runs;
  const length = Math.ceil(inode.content.sizeBytes / 4096) * 4096;
  return { device: run?.device ?? 0, offset: (run?.startBlock ?? 0) * 4096, length };
}

const changed = (found: FoundSnapshot, change: Partial<FoundSnapshot['snapshot']>): FoundSnapshot => ({
  ...found,
  snapshot: { ...found.snapshot, ...change },
});

const vouched = (found: FoundSnapshot, change: object): FoundSnapshot =>
  found.voucher === undefined ? found : { ...found, voucher: { ...found.voucher, ...change } };

function flip(bytes: Uint8Array): Uint8Array {
  const flipped = Buffer.from(bytes);
  flipped[flipped.length - 20] = (flipped[flipped.length - 20] ?? 0) ^ 1;
  return flipped;
}
