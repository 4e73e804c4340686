import { hash, randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { imageOf, layerOf, pushImage } from '@drakkar/lab';
import { fixedPieceLength } from '@drakkar/protocol';
import type { PeerStream } from '@drakkar/wire';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EvilBlob, type EvilOptions, startEvilPeer } from '../../src/fleet/evil-peer.ts';
import { type Fleet, type FleetHost, startFleet } from '../../src/fleet/fleet.ts';
import { requireRight } from './right.ts';

const SIZE_BYTES = 6 * 2 ** 20 + 12_345;

let fleet: Fleet;
let blobs = 0;
beforeAll(async () => {
  fleet = await startFleet({ hosts: 2, supernode: { swarm: { quarantineMs: 0 } } });
}, 60_000);
afterAll(() => fleet[Symbol.asyncDispose]());

async function pushBlob(mebibytes = 0): Promise<{ blob: EvilBlob; image: string }> {
  blobs += 1;
  const content = randomBytes(SIZE_BYTES + mebibytes * 2 ** 20);
  const layer = layerOf(content, { compression: 'none' });
  const repository = `evil/blob-${blobs}`;
  await pushImage(fleet.registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
  const pieceLength = fixedPieceLength(content.length);
  const claims = Array.from({ length: Math.ceil(content.length / pieceLength) }, (_, piece) =>
    hash('sha256', content.subarray(piece * pieceLength, (piece + 1) * pieceLength), 'buffer'),
  );
  const name = { digest: layer.digest, origin: fleet.registry.host };
  return {
    blob: { name, content, pieceLength, claims },
    image: `${fleet.registry.host}/${repository}:latest`,
  };
}

type Answer = (blob: EvilBlob) => EvilOptions['answer'];

/** The headers that a good answer has, and a body that is none. */
const withBody =
  (body: (right: Buffer) => Buffer): Answer =>
  ({ content }) =>
  (response, { start, end }) => {
    response.writeHead(200, { 'content-length': end - start });
    response.end(body(content.subarray(start, end)));
  };

async function trickle(response: ServerResponse, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length && !response.destroyed; at += 100) {
    response.write(bytes.subarray(at, at + 100));
    await sleep(50);
  }
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  'wrong bytes': withBody((right) => Buffer.alloc(right.length, 7)),
  'one wrong bit': withBody((right) => {
    const wrong = Buffer.from(right);
    wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
    return wrong;
  }),
  'the bytes of another piece':
    ({ content }) =>
    (response, { start, end }) => {
      const length = end - start;
      const other = start === 0 ? content.length - length : 0;
      response.writeHead(200, { 'content-length': length }).end(content.subarray(other, other + length));
    },
  'fewer bytes than it announces':
    ({ content }) =>
    (response, { start, end }) => {
      response.writeHead(200, { 'content-length': end - start });
      response.write(content.subarray(start, end - 1000));
      setTimeout(() => response.destroy(), 50);
    },
  'a shorter answer':
    ({ content }) =>
    (response, { start, end }) => {
      response.writeHead(200, { 'content-length': end - start - 1 }).end(content.subarray(start, end - 1));
    },
  'a longer answer':
    ({ content }) =>
    (response, { start, end }) => {
      const long = Buffer.concat([content.subarray(start, end), Buffer.alloc(1000)]);
      response.writeHead(200, { 'content-length': long.length }).end(long);
    },
  'an answer without end': () => (response) => {
    response.writeHead(200);
    const more = setInterval(() => response.write(Buffer.alloc(65_536)), 1);
    response.once('close', () => clearInterval(more));
  },
  'a trickle':
    ({ content }) =>
    (response, { start, end }) => {
      response.writeHead(200, { 'content-length': end - start });
      void trickle(response, content.subarray(start, end));
    },
  silence: () => () => {},
  'a refusal': () => (response) => response.writeHead(403).end('no\n'),
  'a head without end': () => (response) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`);
  },
  'nonsense instead of HTTP': () => (response) => {
    response.socket?.end(randomBytes(10_000));
  },
  'a broken connection': () => (response) => response.destroy(),
};

const PROVEN = new Set(['wrong bytes', 'one wrong bit', 'the bytes of another piece']);

const raw =
  (bytes: Uint8Array): EvilOptions['have'] =>
  async ({ stream }: PeerStream) => {
    stream.send(bytes);
    await sleep(2_000);
  };

/** A length prefix of a gigabyte, as an unsigned varint, and a few bytes behind it. */
const GIGABYTE = Buffer.concat([Buffer.from([0x80, 0x80, 0x80, 0x80, 0x04]), Buffer.alloc(1000)]);

const STREAMS: Readonly<Record<string, EvilOptions['have']>> = {
  'a message of a gigabyte': raw(GIGABYTE),
  'malformed protobuf': raw(Buffer.concat([Buffer.from([200, 1]), Buffer.alloc(200, 0xff)])),
  'a length that never ends': raw(Buffer.alloc(1000, 0xff)),
  silence: () => sleep(10_000),
  'an end at once': async ({ stream }) => {
    await stream.close();
  },
};

async function requirePullThrough(host: FleetHost, image: string, blob: EvilBlob): Promise<number> {
  const { receipt } = await host.client.pull({ image });
  await requireRight(host.stateDirectory, [blob.name.digest]);
  expect(receipt.storeBytes + receipt.upstreamBytes + receipt.peerBytes).toBe(blob.content.length);
  return receipt.peerBytes;
}

describe('a peer that says it has everything, and gives', () => {
  test.each(Object.keys(ANSWERS))('%s: nothing of it is kept, and the pull completes', async (what) => {
    const { blob, image } = await pushBlob();
    const answer = ANSWERS[what]?.(blob) ?? (() => {});
    await using evil = await startEvilPeer({ join: fleet.join, blob, answer });
    const peerBytes = await requirePullThrough(fleet.hosts[0] as FleetHost, image, blob);
    expect(peerBytes).toBe(0);
    expect(evil.requests).toBeGreaterThan(0);
    if (PROVEN.has(what)) expect(fleet.hosts[0]?.output()).toContain('wrong bytes');
  });

  test('pieces that it has lied about from the start: it is found out, and the pull completes', async () => {
    const { blob, image } = await pushBlob();
    const content = Buffer.from(blob.content);
    content.fill(7, 0, 100);
    const claims = [hash('sha256', content.subarray(0, blob.pieceLength), 'buffer'), ...blob.claims.slice(1)];
    const lie = { ...blob, content, claims };
    await using _evil = await startEvilPeer({
      join: fleet.join,
      blob: lie,
      answer: withBody((bytes) => bytes)(lie),
    });
    await requirePullThrough(fleet.hosts[0] as FleetHost, image, blob);
    expect(fleet.hosts[0]?.output()).toContain('a peer has given a wrong piece');
  });
});

test('a peer that is good and fast at first, and then is not, does not bring a daemon down', async () => {
  const { blob, image } = await pushBlob(40);
  const host = fleet.hosts[0] as FleetHost;
  const { pid } = host;
  let answers = 0;
  await using _evil = await startEvilPeer({
    join: fleet.join,
    blob,
    answer: (response, range, request) => {
      answers += 1;
      // The first of several pieces is wrong, and the rest goes on.
      const isWrong = answers > 6 && range.end - range.start > blob.pieceLength;
      const body = withBody((right) => {
        const bytes = Buffer.from(right);
        if (isWrong) bytes.fill(0, 0, 1000);
        return bytes;
      });
      body(blob)(response, range, request);
    },
  });
  await requirePullThrough(host, image, blob);
  expect(host.pid).toBe(pid);
  expect((await host.client.status()).pid).toBe(pid);
});

test('a peer that is fast at first, and then keeps to a rate, is not left', async () => {
  const { blob, image } = await pushBlob(6);
  let answers = 0;
  await using _slow = await startEvilPeer({
    join: fleet.join,
    blob,
    answer: (response, { start, end }) => {
      answers += 1;
      response.writeHead(200, { 'content-length': end - start });
      const bytes = blob.content.subarray(start, end);
      if (answers <= 3) response.end(bytes);
      else void keepToRate(response, bytes);
    },
  });
  expect(await requirePullThrough(fleet.hosts[0] as FleetHost, image, blob)).toBe(blob.content.length);
});

/** Half a megabyte a second. */
async function keepToRate(response: ServerResponse, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length && !response.destroyed; at += 2 ** 17) {
    await sleep(250);
    response.write(bytes.subarray(at, at + 2 ** 17));
  }
  response.end();
}

test('a peer that was put out and does not hang up is out all the same', async () => {
  const { blob } = await pushBlob();
  await using evil = await startEvilPeer({ join: fleet.join, blob, answer: () => {} });
  const { client } = fleet.supernode;
  expect((await client.status()).hosts).toBe(3);
  await client.revoke(evil.peer);
  expect((await client.status()).hosts).toBe(2);
  await sleep(2_500);
  expect((await client.status()).hosts).toBe(2);
});

describe('a peer whose stream about a blob is', () => {
  test.each(Object.keys(STREAMS))('%s: the pull completes', async (what) => {
    const { blob, image } = await pushBlob();
    const have = STREAMS[what];
    if (have === undefined) throw new Error('no such stream');
    await using _evil = await startEvilPeer({ join: fleet.join, blob, answer: () => {}, have });
    expect(await requirePullThrough(fleet.hosts[0] as FleetHost, image, blob)).toBe(0);
  });
});

test('a peer that two hosts were sent wrong bytes by is in quarantine', async () => {
  await using strict = await startFleet({ hosts: 2 });
  const content = randomBytes(SIZE_BYTES);
  const layer = layerOf(content, { compression: 'none' });
  await pushImage(strict.registry.url, imageOf({ layers: [layer] }), { repository: 'evil', tag: 'latest' });
  const pieceLength = fixedPieceLength(content.length);
  const claims = Array.from({ length: Math.ceil(content.length / pieceLength) }, (_, piece) =>
    hash('sha256', content.subarray(piece * pieceLength, (piece + 1) * pieceLength), 'buffer'),
  );
  const blob = { name: { digest: layer.digest, origin: strict.registry.host }, content, pieceLength, claims };
  const answer = withBody((right) => Buffer.alloc(right.length))(blob);
  await using evil = await startEvilPeer({ join: strict.join, blob, answer });
  const image = `${strict.registry.host}/evil:latest`;
  await Promise.all(strict.hosts.map((host) => host.client.pull({ image })));
  for (const host of strict.hosts) await requireRight(host.stateDirectory, [layer.digest]);
  const hosts = await strict.supernode.client.hosts();
  expect(hosts.find(({ peer }) => peer === evil.peer)?.state).toBe('quarantined');
});
