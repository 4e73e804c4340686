import { randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { imageOf, layerOf, pushImage } from '@drakkar/lab';
import {
  type Digest,
  DrakkarError,
  digestOf,
  encodeBlobName,
  FromDaemonSchema,
  FromSupernodeSchema,
  HaveMessageSchema,
} from '@drakkar/protocol';
import { Channel, HAVE_PROTOCOL, type PeerStream } from '@drakkar/wire';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, type FleetHost, startFleet } from '../../src/fleet/fleet.ts';
import { residentBytes } from '../kit/caller.ts';
import { type BareMember, helloOf, joinFleet } from '../kit/member.ts';
import { requireRight } from './right.ts';

const MEBIBYTE = 2 ** 20;
const SIZE_BYTES = 3 * MEBIBYTE + 777;
/** What a process may need more after all of this: what one host may say, and garbage that has not been collected yet. */
const GROWTH_BYTES = 192 * MEBIBYTE;
/** Messages that are said before the other side is given a turn. */
const BURST = 500;

let fleet: Fleet;
let first: FleetHost;
let second: FleetHost;
let images = 0;
beforeAll(async () => {
  fleet = await startFleet({ hosts: 2 });
  [first, second] = fleet.hosts as [FleetHost, FleetHost];
}, 60_000);
afterAll(() => fleet[Symbol.asyncDispose]());

async function push(): Promise<{ image: string; digest: Digest }> {
  images += 1;
  const layer = layerOf(randomBytes(SIZE_BYTES), { compression: 'none' });
  const repository = `floods/image-${images}`;
  await pushImage(fleet.registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
  return { image: `${fleet.registry.host}/${repository}:latest`, digest: layer.digest };
}

/** The second host gets everything from the first. */
async function requireService(): Promise<void> {
  const { image, digest } = await push();
  await first.client.pull({ image });
  const { receipt } = await second.client.pull({ image });
  expect(receipt).toMatchObject({ peerBytes: SIZE_BYTES, upstreamBytes: 0 });
  await requireRight(second.stateDirectory, [digest]);
}

/** While all of it happens, and afterwards, hosts are served; and no process needs more and more memory. */
async function requireServiceDuring(what: string, flood: () => Promise<unknown>): Promise<void> {
  const { pid } = await fleet.supernode.client.status();
  const pids = [pid, ...fleet.hosts.map((host) => host.pid)];
  const before = await Promise.all(pids.map(residentBytes));
  await Promise.all([flood(), requireService()]);
  await requireService();
  const growth = (await Promise.all(pids.map(residentBytes))).map((bytes, at) => bytes - (before[at] ?? 0));
  console.info(`${what}: ${growth.map((bytes) => Math.round(bytes / MEBIBYTE)).join(', ')} MiB more`);
  for (const bytes of growth) expect(bytes).toBeLessThan(GROWTH_BYTES);
  expect((await fleet.supernode.client.status()).pid).toBe(pid);
}

/** So many messages, a burst at a time. */
async function many(count: number, say: (index: number) => void): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    say(index);
    if (index % BURST === BURST - 1) await turn();
  }
}

const blobNo = (index: number) =>
  encodeBlobName({ digest: digestOf(`flood ${index}`), origin: 'flood.example' });
const SIZE = { sizeBytes: 1_000_000n, pieces: 1 };

type Flood = (member: BareMember) => Promise<unknown>;
const FLOODS: Readonly<Record<string, Flood>> = {
  'wants of blobs that nobody has': ({ supernode }) =>
    many(30_000, (index) =>
      supernode.send({ message: { case: 'want', value: { blob: blobNo(index), ...SIZE, havePieces: 0 } } }),
    ),
  'haves of blobs that nobody wants': ({ supernode }) =>
    many(30_000, (index) =>
      supernode.send({ message: { case: 'have', value: { blob: blobNo(index), ...SIZE, havePieces: 1 } } }),
    ),
  'wants of one blob, of another size each time': ({ supernode }) =>
    many(30_000, (index) => {
      const sizeBytes = BigInt(index + 1);
      const value = { blob: blobNo(0), sizeBytes, pieces: 1, havePieces: 0 };
      supernode.send({ message: { case: 'want', value } });
    }),
  'reports of everybody': async ({ supernode }) => {
    const hosts = await fleet.supernode.client.hosts();
    await many(30_000, (index) => {
      const peer = hosts[index % hosts.length]?.peer ?? '';
      supernode.send({ message: { case: 'report', value: { blob: blobNo(index), piece: index, peer } } });
    });
  },
  'complaints that everybody is of no use': async ({ supernode }) => {
    const hosts = await fleet.supernode.client.hosts();
    await many(30_000, (index) => {
      const peer = hosts[index % hosts.length]?.peer ?? '';
      supernode.send({ message: { case: 'useless', value: { blob: blobNo(index), peer } } });
    });
  },
  heartbeats: ({ supernode }) =>
    many(50_000, () => supernode.send({ message: { case: 'heartbeat', value: { uploads: 1 } } })),
};

describe('a supernode serves others while one host sends it thousands of', () => {
  test.each(Object.keys(FLOODS))('%s', async (what) => {
    await using member = await joinFleet(fleet);
    await requireServiceDuring(what, async () => await FLOODS[what]?.(member));
    // One host alone puts nobody out.
    for (const { peer, state } of await fleet.supernode.client.hosts()) {
      if (peer !== member.peer) expect(['connected', 'away']).toContain(state);
    }
  });

  test('streams', async () => {
    await using member = await joinFleet(fleet);
    await requireServiceDuring('streams', async () => {
      const streams: PeerStream[] = [];
      for (let opened = 0; opened < 800; opened += 1) {
        const stream = await member.open();
        streams.push(stream);
        // Half of them say hello, half of them nothing.
        if (opened % 2 === 0) greet(stream);
      }
      for (const { stream } of streams) stream.abort(new Error('the test is over'));
    });
  });
});

/** A hello with its length before it. */
function greet({ stream }: PeerStream): void {
  const channel = new Channel(stream, FromDaemonSchema, FromSupernodeSchema);
  channel.send({ message: helloOf(fleet.join) });
}

describe('a host serves others while one peer', () => {
  test('opens hundreds of streams about blobs and says nothing', async () => {
    await using member = await joinFleet(fleet);
    await requireServiceDuring('streams about blobs', async () => {
      for (let opened = 0; opened < 800; opened += 1) await openHave(member, first);
    });
  });

  test('says thousands of times which pieces it has, and that it chokes', async () => {
    const { image, digest } = await push();
    await first.client.pull({ image });
    await using member = await joinFleet(fleet);
    await requireServiceDuring('pieces', async () => {
      const { stream } = await openHave(member, first);
      const channel = new Channel(stream, HaveMessageSchema, HaveMessageSchema);
      const { membership } = member;
      const name = encodeBlobName({ digest, origin: fleet.registry.host });
      channel.send({
        message: {
          case: 'open',
          value: {
            version: 1,
            membership,
            ...name,
            sizeBytes: BigInt(SIZE_BYTES),
            dataAddress: '127.0.0.1:1',
          },
        },
      });
      expect((await channel.receive())?.message.case).toBe('open');
      await many(30_000, (index) => {
        const value = { index: [index % 2], sha256: randomBytes(32) };
        channel.send({ message: { case: 'pieces', value } });
        channel.send({ message: { case: 'choke', value: { choked: index % 2 === 0 } } });
      });
      channel.abort(new DrakkarError('cancelled', 'the test is over'));
    });
  });
});

async function openHave(member: BareMember, host: FleetHost): Promise<PeerStream> {
  const { swarm } = await host.client.status();
  if (swarm === null) throw new Error('the host is alone');
  const at = { host: '127.0.0.1', port: swarm.controlPort };
  return await member.node.open(swarm.peer, [at], HAVE_PROTOCOL, AbortSignal.timeout(10_000));
}
