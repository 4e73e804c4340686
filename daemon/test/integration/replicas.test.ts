import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SupernodeClient } from '@drakkar/client';
import { freePort, type RedisServer, startRedis, temporaryDirectory } from '@drakkar/lab';
import { ownerOf, type PeerId } from '@drakkar/protocol';
import { type Supernode, startSupernode, supernodeConfiguration } from '@drakkar/supernode';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { newReceipt } from '../../src/content/index.ts';
import { type Cluster, type ClusterHost, startCluster } from '../kit/cluster.ts';
import type { CutBlob } from '../kit/cut-blob.ts';

const SOON = { timeout: 30_000, interval: 50 };

const running = new AsyncDisposableStack();
let redis: RedisServer;
let ended: AsyncDisposableStack;
let prefixes = 0;

beforeAll(async () => {
  redis = running.use(await startRedis());
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  ended = new AsyncDisposableStack();
  prefixes += 1;
});
afterEach(() => ended[Symbol.asyncDispose]());

const sharedState = (more: object = {}) => ({
  redis: { url: redis.url, keyPrefix: `replicas-${prefixes}` },
  ...more,
});

interface Member {
  readonly supernode: Supernode;
  readonly directory: string;
  readonly client: SupernodeClient;
  stop(): Promise<void>;
  again(): Promise<Member>;
}

async function startOne(directory: string, port: number, state: object = sharedState()): Promise<Member> {
  await mkdir(directory, { recursive: true });
  const config = supernodeConfiguration.complete({
    state,
    stateDirectory: directory,
    address: '127.0.0.1',
    port,
    metrics: { port: 0 },
    api: { port: 0 },
    log: { level: 'error' },
  });
  const supernode = await startSupernode(config);
  let isStopped = false;
  const stop = async () => {
    if (!isStopped) await supernode[Symbol.asyncDispose]();
    isStopped = true;
  };
  ended.defer(stop);
  const client = new SupernodeClient({ socketPath: join(directory, 'admin.sock') });
  return { supernode, directory, client, stop, again: () => startOne(directory, port, state) };
}

async function startSeveral(count: number): Promise<Member[]> {
  const { path } = ended.use(await temporaryDirectory('replicas'));
  const ports = await Promise.all(Array.from({ length: count }, freePort));
  const members = await Promise.all(ports.map((port, index) => startOne(join(path, `${index}`), port)));
  await expect
    .poll(() => members.map(({ supernode }) => supernode.status().supernodes.length), SOON)
    .toEqual(members.map(() => count));
  return members;
}

/** As `FLUSHALL` does. */
async function emptyRedis(): Promise<void> {
  const socket = connect(Number(new URL(redis.url).port), '127.0.0.1');
  socket.write('FLUSHALL\r\n');
  await once(socket, 'data');
  socket.destroy();
}

/** Before Redis, until it is cut. */
async function startRelay(to: URL): Promise<AsyncDisposable & { readonly url: string; cut(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(to.port), to.hostname);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {}).on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  const { port } = server.address() as AddressInfo;
  return { url: `redis://127.0.0.1:${port}`, cut, [Symbol.asyncDispose]: async () => cut() };
}

/** A cluster whose supernode shares its state with a second one, and hosts that know of the first alone. */
async function startPair(hosts: number) {
  const cluster = ended.use(await startCluster({ state: sharedState() }));
  const { path } = ended.use(await temporaryDirectory('second'));
  const second = await startOne(path, await freePort());
  const members: ClusterHost[] = [];
  for (let count = 0; count < hosts; count += 1) members.push(ended.use(await cluster.host()));
  await expect.poll(() => members.map(servingOf), SOON).toEqual(members.map(() => 2));
  return { cluster, second, members };
}

const servingOf = ({ swarm }: ClusterHost) =>
  swarm.status().supernodes.filter(({ up, serving }) => up && serving).length;

/** A blob that is one supernode's own. */
async function pushOwnedBy(cluster: Cluster, peer: string, peers: readonly string[]) {
  for (let extra = 0; ; extra += 1) {
    const blob = await cluster.push([3 * 2 ** 20 + extra]);
    if (ownerOf(blob.digest, peers as PeerId[]) === peer) return blob;
  }
}

/** One fetches it, and the other has it from that one alone. */
async function passOn({ image }: Cluster, blob: CutBlob, one: ClusterHost, other: ClusterHost) {
  const request = { image, digest: blob.digest, sizeBytes: blob.sizeBytes };
  await one.content.fetch(request, newReceipt());
  const receipt = newReceipt();
  await other.content.fetch(request, receipt);
  expect(receipt.summary()).toMatchObject({ upstreamBytes: 0, peerBytes: blob.sizeBytes });
}

const leaders = (members: readonly Member[]) =>
  members.filter(({ supernode }) =>
    supernode.status().supernodes.some(({ peer, leads }) => leads && peer === supernode.status().peer),
  );

describe('several supernodes over one Redis', () => {
  test('that begin at once are one cluster: one key, one token, one that leads', async () => {
    const members = await startSeveral(3);
    expect(new Set(members.map(({ supernode }) => supernode.joinToken)).size).toBe(1);
    await expect.poll(() => leaders(members).length, SOON).toBe(1);
    const [leader] = leaders(members);
    for (const { client } of members) {
      const status = await client.status();
      expect(status.peer).toBe(leader?.supernode.status().peer);
      expect(status.supernodes.filter(({ leads }) => leads)).toHaveLength(1);
      expect((await client.joinToken()).supernodes).toHaveLength(3);
    }
  });

  test('pass on what they are asked, and go on when the one that leads ends', async () => {
    const members = await startSeveral(2);
    await expect.poll(() => leaders(members).length, SOON).toBe(1);
    const [leader] = leaders(members);
    const other = members.find((member) => member !== leader);
    if (leader === undefined || other === undefined) throw new Error('nobody leads');
    const spec = { kind: 'preheat' as const, image: 'registry.example/app:1', keep: true };
    const job = await other.client.createJob(spec, 'the-one');
    expect((await leader.client.job(job.id)).createdBy).toBe('local');
    const { text } = await other.client.createToken({ name: 'a viewer', role: 'viewer' });
    await leader.stop();
    await expect.poll(() => leaders([other]).length, SOON).toBe(1);
    await expect.poll(async () => (await other.client.createJob(spec, 'the-one')).id, SOON).toBe(job.id);
    const url = other.supernode.status().apiUrl;
    const viewer = new SupernodeClient({ url, token: text });
    expect((await viewer.job(job.id)).id).toBe(job.id);
    await expect(viewer.actOnJob(job.id, 'cancel')).rejects.toMatchObject({ code: 'forbidden' });
    const back = await leader.again();
    await expect.poll(async () => (await back.client.job(job.id)).id, SOON).toBe(job.id);
    expect(leaders([back])).toEqual([]);
  });

  test('pass on at once what one is asked that has only just begun', async () => {
    const { path } = ended.use(await temporaryDirectory('just-begun'));
    const first = await startOne(join(path, 'first'), await freePort());
    const second = await startOne(join(path, 'second'), await freePort());
    expect((await second.client.status()).peer).toBe(first.supernode.status().peer);
  });

  test('are all told of hosts, and each is asked about what is its own', async () => {
    const { cluster, second, members } = await startPair(2);
    const peers = [cluster.supernode, second.supernode].map((each) => each.status().peer);
    const [one, other] = members;
    if (one === undefined || other === undefined) throw new Error('no hosts');
    for (const peer of peers) await passOn(cluster, await pushOwnedBy(cluster, peer, peers), one, other);
    expect(cluster.supernode.status().hosts).toBe(2);
    expect(second.supernode.status().hosts).toBe(2);
  });

  test('lose nothing when one ends: hosts ask the other about all, and come back when it does', async () => {
    const { cluster, second, members } = await startPair(2);
    const peers = [cluster.supernode, second.supernode].map((each) => each.status().peer);
    const [one, other] = members;
    if (one === undefined || other === undefined) throw new Error('no hosts');
    const { digest, sizeBytes } = await pushOwnedBy(cluster, peers[1] ?? '', peers);
    const request = { image: cluster.image, digest, sizeBytes };
    await one.content.fetch(request, newReceipt());
    await second.stop();
    await expect.poll(() => members.map(servingOf), SOON).toEqual([1, 1]);
    const receipt = newReceipt();
    await other.content.fetch(request, receipt);
    expect(receipt.summary()).toMatchObject({ upstreamBytes: 0, peerBytes: sizeBytes });
    await second.again();
    await expect.poll(() => members.map(servingOf), SOON).toEqual([2, 2]);
  });

  test('are found by a host whose configured one is gone, since it has heard of the other', async () => {
    const { cluster, second, members } = await startPair(1);
    const [member] = members;
    if (member === undefined) throw new Error('no host');
    const { directory, key } = member;
    await member[Symbol.asyncDispose]();
    await cluster.supernode[Symbol.asyncDispose]();
    const again = ended.use(await cluster.host({ directory, key, supernodes: [cluster.join.supernode] }));
    expect(again.swarm.status().supernode).toMatchObject({
      up: true,
      address: second.supernode.status().address,
    });
  });

  test('are found by a host of which all have been replaced, where it is told so', async () => {
    const cluster = ended.use(await startCluster({ state: sharedState() }));
    const { path } = ended.use(await temporaryDirectory('another'));
    let addresses = [cluster.join.supernode];
    const { swarm } = ended.use(await cluster.host({ supernodesNow: async () => addresses }));
    await cluster.supernode[Symbol.asyncDispose]();
    const another = await startOne(path, await freePort());
    addresses = [another.supernode.status().address];
    const known = () => swarm.status().supernodes.map(({ address, up }) => ({ address, up }));
    await expect.poll(known, SOON).toEqual([{ address: addresses[0], up: true }]);
  });

  test('let no host in that one of them has revoked, and let one in that has enrolled with another', async () => {
    const { cluster, second, members } = await startPair(2);
    const other = members[1];
    if (other === undefined) throw new Error('no hosts');
    await cluster.operator.revoke(other.swarm.status().peer);
    await expect.poll(() => second.supernode.status().hosts, SOON).toBe(1);
    await expect.poll(() => cluster.supernode.status().hosts, SOON).toBe(1);
  });

  test('whose Redis is away go on as they were, and nothing is lost', async () => {
    const { cluster, second, members } = await startPair(2);
    const peers = [cluster.supernode, second.supernode].map((each) => each.status().peer);
    const [one, other] = members;
    if (one === undefined || other === undefined) throw new Error('no hosts');
    await redis.kill();
    for (const peer of peers) await passOn(cluster, await pushOwnedBy(cluster, peer, peers), one, other);
    const spec = { kind: 'preheat' as const, image: 'registry.example/app:1', keep: true };
    await expect(second.client.createJob(spec)).rejects.toMatchObject({ code: 'unavailable' });
    // Longer than any lease lasts.
    await delay(6_000);
    await redis.start();
    const create = async () => (await second.client.createJob(spec, 'after')).state;
    await expect.poll(async () => await create().catch(() => 'away'), SOON).not.toBe('away');
    expect(members.map(servingOf)).toEqual([2, 2]);
    expect(second.supernode.status().supernodes).toHaveLength(2);
  });

  test('whose Redis has lost everything say so, change nothing, and let no host in that was revoked', async () => {
    const { cluster, second, members } = await startPair(2);
    const [, revoked] = members as [ClusterHost, ClusterHost];
    await cluster.operator.revoke(revoked.swarm.status().peer);
    await expect.poll(() => second.supernode.status().hosts, SOON).toBe(1);
    await emptyRedis();
    const ready = async () =>
      await (await fetch(second.supernode.status().metricsUrl.replace('/metrics', '/readyz'))).text();
    await expect.poll(ready, SOON).toContain('Redis has lost what the supernodes share');
    // Longer than any lease lasts.
    await delay(6_000);
    expect([cluster.supernode, second.supernode].map((each) => each.status().hosts)).toEqual([1, 1]);
    const spec = { kind: 'preheat' as const, image: 'registry.example/app:1', keep: true };
    await expect(cluster.operator.createJob(spec)).rejects.toMatchObject({ code: 'unavailable' });
    const states = (await cluster.operator.hosts()).map(({ state }) => state).sort();
    expect(states).toEqual(['connected', 'revoked']);
  });

  test('are believed of the others only what is new: one that is cut off from Redis knows those of before', async () => {
    const cluster = ended.use(await startCluster({ state: sharedState() }));
    const relay = ended.use(await startRelay(new URL(redis.url)));
    const { path } = ended.use(await temporaryDirectory('cut-off'));
    const state = sharedState({ redis: { url: relay.url, keyPrefix: `replicas-${prefixes}` } });
    const cutOff = await startOne(join(path, 'second'), await freePort(), state);
    const addressOf = ({ supernode }: { readonly supernode: Supernode }) => supernode.status().address;
    const servingTo = ({ swarm }: ClusterHost) =>
      swarm.status().supernodes.flatMap(({ address, serving }) => (serving ? [address] : []));
    const member = ended.use(await cluster.host());
    await expect.poll(() => servingTo(member).sort(), SOON).toEqual([cluster, cutOff].map(addressOf).sort());
    relay.cut();
    const third = await startOne(join(path, 'third'), await freePort());
    const now = [cluster, third].map(addressOf).sort();
    await expect.poll(() => servingTo(member).sort(), SOON).toEqual(now);
    for (let count = 0; count < 4; count += 1) {
      const newcomer = ended.use(await cluster.host({ supernodes: [cutOff, cluster].map(addressOf) }));
      await expect.poll(() => servingTo(newcomer).sort(), SOON).toEqual(now);
      await expect.poll(() => newcomer.swarm.status().supernodes.filter(({ up }) => up).length, SOON).toBe(3);
      expect(servingTo(newcomer).sort()).toEqual(now);
    }
  });

  test('take over what one had that was alone, and refuse one that has something else', async () => {
    const { path } = ended.use(await temporaryDirectory('alone'));
    const alone = await startOne(path, await freePort(), {});
    const { joinToken } = alone.supernode;
    const spec = { kind: 'preheat' as const, image: 'registry.example/app:1', keep: true };
    const job = await alone.client.createJob(spec);
    await alone.stop();
    const first = await startOne(path, await freePort());
    expect(first.supernode.joinToken).toBe(joinToken);
    expect((await first.client.job(job.id)).id).toBe(job.id);
    const { path: otherPath } = ended.use(await temporaryDirectory('other'));
    const other = await startOne(otherPath, await freePort(), {});
    await other.stop();
    await expect(startOne(otherPath, await freePort())).rejects.toMatchObject({ code: 'already_exists' });
  });

  test('seal the cluster’s key also when there was no secret at first', async () => {
    const { path } = ended.use(await temporaryDirectory('sealed-later'));
    const secretFile = join(path, 'secret');
    await writeFile(secretFile, 'a secret of all\n');
    await (await startOne(join(path, 'first'), await freePort())).stop();
    await startOne(join(path, 'first'), await freePort(), sharedState({ secretFile }));
    await expect(startOne(join(path, 'second'), await freePort())).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  test('seal the cluster’s key with a secret that all have, or none gets it', async () => {
    const { path } = ended.use(await temporaryDirectory('sealed'));
    const secretFile = join(path, 'secret');
    await writeFile(secretFile, 'a secret of all\n');
    const state = sharedState({ secretFile });
    const first = await startOne(join(path, 'first'), await freePort(), state);
    const second = await startOne(join(path, 'second'), await freePort(), state);
    expect(second.supernode.joinToken).toBe(first.supernode.joinToken);
    await expect(startOne(join(path, 'third'), await freePort())).rejects.toMatchObject({
      code: 'forbidden',
    });
    await writeFile(join(path, 'wrong'), 'another\n');
    const wrong = sharedState({ secretFile: join(path, 'wrong') });
    await expect(startOne(join(path, 'fourth'), await freePort(), wrong)).rejects.toMatchObject({
      code: 'forbidden',
    });
  });
});
