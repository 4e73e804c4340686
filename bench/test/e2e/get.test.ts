import { createHash, hash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { GetResult } from '@drakkar/client';
import { startWebServer, type WebServer } from '@drakkar/lab';
import { digestOf, fixedPieceLength } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startEvilPeer } from '../../src/fleet/evil-peer.ts';
import { type Fleet, type FleetHost, type FleetOptions, startFleet } from '../../src/fleet/fleet.ts';
import { requireRight } from './right.ts';

const MEBIBYTE = 2 ** 20;
const CONDITION = { timeout: 30_000, interval: 25 };

let web: WebServer;
let count = 0;

beforeAll(async () => {
  web = await startWebServer({ bytesPerSecond: 24 * MEBIBYTE });
});
afterAll(async () => {
  await web?.[Symbol.asyncDispose]();
});

interface Published {
  readonly name: string;
  readonly url: string;
  readonly bytes: Buffer;
  readonly sha256: string;
}

async function publish(sizeBytes: number, server = web): Promise<Published> {
  count += 1;
  const [name, bytes] = [`file-${count}.bin`, randomBytes(sizeBytes)];
  await server.put(name, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { name, url: `${server.url}/${name}`, bytes, sha256 };
}

const FILES = { files: { allow: ['http://127.0.0.1:*'], allowPrivate: ['127.0.0.1'] } };

const withFleet =
  (options: FleetOptions, run: (fleet: Fleet) => Promise<void>): (() => Promise<void>) =>
  async () => {
    await using fleet = await startFleet({
      ...options,
      daemon: (index) => ({ ...FILES, ...options.daemon?.(index) }),
    });
    try {
      await run(fleet);
    } catch (error) {
      for (const member of [fleet.supernode, ...fleet.hosts]) console.error(member.output().slice(-2000));
      throw error;
    }
  };

const requireAll = async (fleet: Fleet, { bytes }: Published) => {
  for (const host of fleet.hosts) await requireRight(host.stateDirectory, [digestOf(bytes)]);
};

const presentBytes = async (host: FleetHost) =>
  (await host.client.blobs()).reduce((sum, blob) => sum + blob.presentBytes, 0);

describe('a file in a swarm', () => {
  test.each([
    { what: 'its sha256 is said', isSaid: true },
    { what: 'nobody knows its sha256', isSaid: false },
  ])('costs its server one copy, however many get it at once, where $what', ({ isSaid }) =>
    withFleet({ hosts: 3 }, async (fleet) => {
      const file = await publish(24 * MEBIBYTE);
      const request = { url: file.url, ...(isSaid ? { sha256: file.sha256 } : {}) };
      const results = await Promise.all(fleet.hosts.map(({ client }) => client.get(request)));
      for (const { digest, sizeBytes } of results) {
        expect({ digest, sizeBytes }).toEqual({ digest: digestOf(file.bytes), sizeBytes: file.bytes.length });
      }
      const sum = (of: (result: GetResult) => number) =>
        results.reduce((total, result) => total + of(result), 0);
      expect(await web.sentBytes(file.name)).toBeLessThanOrEqual(1.02 * file.bytes.length);
      expect(sum(({ receipt }) => receipt.upstreamBytes)).toBe(file.bytes.length);
      expect(sum(({ receipt }) => receipt.peerBytes)).toBeGreaterThanOrEqual(2 * file.bytes.length);
      await requireAll(fleet, file);
      // And once more, of which the server sends nothing.
      for (const { client } of fleet.hosts) {
        const { receipt } = await client.get({ url: file.url });
        expect(receipt).toMatchObject({ storeBytes: file.bytes.length, upstreamBytes: 0, peerBytes: 0 });
      }
    })(),
  );

  test(
    'is had from other hosts by who says its sha256, when its server is away',
    withFleet({ hosts: 3 }, async (fleet) => {
      const [first, second, third] = fleet.hosts as [FleetHost, FleetHost, FleetHost];
      await using server = await startWebServer();
      const [said, found] = [await publish(4 * MEBIBYTE, server), await publish(4 * MEBIBYTE, server)];
      await first.client.get({ url: said.url, sha256: said.sha256 });
      await first.client.get({ url: found.url });
      await server.stop();
      // What names mean is told again.
      await fleet.supernode.kill('SIGKILL');
      await fleet.supernode.start();
      const isUp = async (host: FleetHost) => (await host.client.status()).swarm?.supernode.up;
      for (const host of fleet.hosts) await expect.poll(() => isUp(host), CONDITION).toBe(true);
      for (const [host, file] of [
        [second, said],
        [third, found],
      ] as const) {
        const { receipt } = await host.client.get({ url: file.url, sha256: file.sha256 });
        expect(receipt).toMatchObject({ storeBytes: 0, upstreamBytes: 0, peerBytes: file.bytes.length });
      }
      await expect(third.client.get({ url: said.url })).rejects.toMatchObject({ code: 'unavailable' });
    }),
  );

  test(
    'is had from other hosts where its server has fallen silent to the one that read it first',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      const bytes = randomBytes(8 * MEBIBYTE);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      let reads = 0;
      const server = createServer((request, response) => {
        response.writeHead(200, { etag: '"a"', 'content-length': bytes.length });
        if (request.method === 'HEAD') return void response.end();
        reads += 1;
        if (reads === 1) response.write(bytes.subarray(0, 2.5 * MEBIBYTE));
        else response.end(bytes);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      try {
        const request = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`, sha256 };
        const stuck = first.client.get(request);
        await expect.poll(() => reads, CONDITION).toBe(1);
        await second.client.get(request);
        const { receipt } = await stuck;
        expect(receipt.peerBytes + receipt.upstreamBytes).toBe(bytes.length);
        // Each has asked once: the first has not waited until it could ask again.
        expect(reads).toBe(2);
        for (const host of fleet.hosts) await requireRight(host.stateDirectory, [digestOf(bytes)]);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    }),
  );

  test(
    'is found out by another host when the one that reads it is killed, and by that one from where it was',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      await using slow = await startWebServer({ bytesPerSecond: 8 * MEBIBYTE });
      const file = await publish(48 * MEBIBYTE, slow);
      const lost = first.client.get({ url: file.url }).catch(() => undefined);
      // What is durable is written every 32 MiB.
      await expect.poll(() => presentBytes(first), CONDITION).toBeGreaterThanOrEqual(24 * MEBIBYTE);
      const taken = second.client.get({ url: file.url });
      await first.kill('SIGKILL');
      await lost;
      await first.start();
      const again = first.client.get({ url: file.url });
      expect((await taken).digest).toBe(digestOf(file.bytes));
      expect((await again).digest).toBe(digestOf(file.bytes));
      await requireAll(fleet, file);
    }),
  );

  test(
    'is gone on with by a daemon that was killed, though nobody knows its sha256',
    withFleet({ hosts: 1 }, async (fleet) => {
      const [host] = fleet.hosts as [FleetHost];
      await using slow = await startWebServer({ bytesPerSecond: 8 * MEBIBYTE });
      const file = await publish(48 * MEBIBYTE, slow);
      const lost = host.client.get({ url: file.url }).catch(() => undefined);
      await expect.poll(() => presentBytes(host), CONDITION).toBeGreaterThanOrEqual(24 * MEBIBYTE);
      const present = await presentBytes(host);
      await host.kill('SIGKILL');
      await lost;
      await host.start();
      const { digest, receipt } = await host.client.get({ url: file.url });
      expect(digest).toBe(digestOf(file.bytes));
      expect(receipt.storeBytes).toBeGreaterThanOrEqual(present);
      expect(receipt.storeBytes + receipt.upstreamBytes).toBe(file.bytes.length);
    }),
  );

  test(
    'is read from its server when the supernode is away, and waits for nobody',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      await fleet.supernode.kill('SIGKILL');
      const file = await publish(2 * MEBIBYTE);
      for (const { client } of [first, second]) {
        expect((await client.get({ url: file.url })).receipt.upstreamBytes).toBe(file.bytes.length);
      }
      await requireAll(fleet, file);
    }),
  );

  test(
    'is what its server sends where a member says wrongly what that is',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      const file = await publish(2 * MEBIBYTE);
      const etag = (await fetch(file.url, { method: 'HEAD' })).headers.get('etag');
      const key = digestOf(['drakkar file v1', 'version', file.url, etag, file.bytes.length].join('\0'));
      const lie = { digest: digestOf('another file'), origin: web.url };
      await using _evil = await startEvilPeer({
        join: fleet.join,
        blob: {
          name: lie,
          content: Buffer.alloc(MEBIBYTE),
          pieceLength: MEBIBYTE,
          claims: [Buffer.alloc(32)],
        },
        answer: (response) => void response.writeHead(404).end(),
        names: [{ key, digest: lie.digest, sizeBytes: file.bytes.length }],
      });
      // Believed, found wrong, and read once more, by the first only.
      const found = await first.client.get({ url: file.url });
      const { upstreamBytes, discardedBytes } = found.receipt;
      expect([upstreamBytes, discardedBytes]).toEqual([file.bytes.length, file.bytes.length]);
      await second.client.get({ url: file.url });
      await requireAll(fleet, file);
    }),
  );

  test(
    'is no lie for ever where a member both says and gives one',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      const file = await publish(MEBIBYTE);
      const etag = (await fetch(file.url, { method: 'HEAD' })).headers.get('etag');
      const key = digestOf(['drakkar file v1', 'version', file.url, etag, file.bytes.length].join('\0'));
      const content = randomBytes(file.bytes.length);
      const lie = { digest: digestOf(content), origin: web.url };
      const pieceLength = fixedPieceLength(content.length);
      const claims = Array.from({ length: Math.ceil(content.length / pieceLength) }, (_, piece) =>
        hash('sha256', content.subarray(piece * pieceLength, (piece + 1) * pieceLength), 'buffer'),
      );
      {
        await using _evil = await startEvilPeer({
          join: fleet.join,
          blob: { name: lie, content, pieceLength, claims },
          answer: (response, { start, end }) => {
            response.writeHead(200, { 'content-length': end - start }).end(content.subarray(start, end));
          },
          names: [{ key, digest: lie.digest, sizeBytes: content.length }],
        });
        // Without a sha256 nothing tells it from the truth.
        expect((await first.client.get({ url: file.url })).digest).toBe(lie.digest);
      }
      await fleet.supernode.kill('SIGKILL');
      await fleet.supernode.start();
      const isUp = async (host: FleetHost) => (await host.client.status()).swarm?.supernode.up;
      for (const host of fleet.hosts) await expect.poll(() => isUp(host), CONDITION).toBe(true);
      // But whoever has believed it neither tells it further nor believes it again.
      expect((await second.client.get({ url: file.url })).digest).toBe(digestOf(file.bytes));
      expect((await first.client.get({ url: file.url })).digest).toBe(digestOf(file.bytes));
    }),
  );

  test(
    'that its server gives to some hosts only is given to no other by the swarm',
    withFleet({ hosts: 2 }, async (fleet) => {
      const [first, second] = fleet.hosts as [FleetHost, FleetHost];
      await using server = await startWebServer({
        directives: 'location /gated/ { if ($arg_token != right) { return 403; } alias ./; }',
      });
      const file = await publish(2 * MEBIBYTE, server);
      await first.client.get({ url: file.url });
      const refused = second.client.get({ url: `${server.url}/gated/${file.name}`, sha256: file.sha256 });
      await expect(refused).rejects.toMatchObject({ code: 'forbidden' });
      expect((await second.client.status()).swarm?.receivedBytes).toBe(0);
    }),
  );
});
