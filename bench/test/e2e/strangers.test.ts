import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { imageOf, layerOf, pushImage } from '@drakkar/lab';
import { type BlobName, CLOCK_TOLERANCE_MS, digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, type FleetHost, startFleet } from '../../src/fleet/fleet.ts';
import {
  type Caller,
  callerOf,
  clusterKeyOf,
  dial,
  grantOf,
  headOf,
  membershipOf,
  newCaller,
  peerKeyOf,
  piecesOf,
  residentBytes,
  speak,
} from '../kit/caller.ts';
import { requireRight } from './right.ts';

const MEBIBYTE = 2 ** 20;
const SIZE_BYTES = 3 * MEBIBYTE + 777;
/** What a daemon may need more after all of this: garbage that has not been collected yet. */
const GROWTH_BYTES = 192 * MEBIBYTE;

let fleet: Fleet;
let host: FleetHost;
let port: number;
let clusterKey: Awaited<ReturnType<typeof clusterKeyOf>>;
let content: Buffer;
let blob: BlobName;
let image: string;
/** A key that no supernode has seen, and one that was told by the cluster's key that it is a member. */
let caller: Caller;
let blobs = 0;

async function push(bytes: Buffer): Promise<{ blob: BlobName; image: string }> {
  blobs += 1;
  const layer = layerOf(bytes, { compression: 'none' });
  const repository = `strangers/blob-${blobs}`;
  await pushImage(fleet.registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
  const origin = fleet.registry.host;
  return { blob: { digest: layer.digest, origin }, image: `${origin}/${repository}:latest` };
}

beforeAll(async () => {
  fleet = await startFleet({ hosts: 2 });
  host = fleet.hosts[0] as FleetHost;
  port = (await host.client.status()).swarm?.dataPort ?? 0;
  clusterKey = await clusterKeyOf(fleet);
  content = randomBytes(SIZE_BYTES);
  ({ blob, image } = await push(content));
  await host.client.pull({ image });
  caller = await newCaller();
}, 60_000);
afterAll(() => fleet[Symbol.asyncDispose]());

const grant = (livesMs?: number) => `Drakkar-Grant ${grantOf(caller.peer, blob, clusterKey, livesMs)}`;
const member = (livesMs?: number) => `Drakkar-Member ${membershipOf(caller.peer, clusterKey, livesMs)}`;

/** Nothing of the blob is in an answer. */
function requireNothing(bytes: Buffer): void {
  for (let at = 0; at < content.length; at += MEBIBYTE) {
    expect(bytes.includes(content.subarray(at, at + 32))).toBe(false);
  }
}

/** The other host gets everything from this one. */
async function requireService(): Promise<void> {
  const bytes = randomBytes(SIZE_BYTES);
  const fresh = await push(bytes);
  const [first, second] = fleet.hosts as [FleetHost, FleetHost];
  await first.client.pull({ image: fresh.image });
  const { receipt } = await second.client.pull({ image: fresh.image });
  expect(receipt).toMatchObject({ peerBytes: bytes.length, upstreamBytes: 0 });
  await requireRight(second.stateDirectory, [fresh.blob.digest]);
}

test('who has a grant or is a member is given what it asks for', async () => {
  for (const authorization of [grant(), member()]) {
    const { statuses, bytes } = await speak(port, caller.tls, headOf(piecesOf(blob, '1-3'), authorization));
    expect(statuses).toEqual([200]);
    expect(bytes.subarray(-(SIZE_BYTES - MEBIBYTE)).equals(content.subarray(MEBIBYTE))).toBe(true);
  }
});

/** A grant with one bit of what was signed, of its path or of the signature the other way round. */
function flipped(statement: string, part: 0 | 1 | 2): string {
  const parts = statement.split('.').map((text) => Buffer.from(text, 'base64url'));
  const bytes = parts[part] as Buffer;
  // A digit of a time, and any bit of the others.
  bytes[bytes.length - 2] = (bytes.at(-2) ?? 0) ^ 1;
  return parts.map((each) => each.toString('base64url')).join('.');
}

describe('nothing is given to who shows', () => {
  const somebody = generateKeyPairSync('ed25519').privateKey;
  const other = async () => (await newCaller()).peer;
  const expired = -CLOCK_TOLERANCE_MS - 60_000;
  const CASES: Readonly<Record<string, () => string | undefined | Promise<string>>> = {
    'no grant': () => undefined,
    'an empty grant': () => 'Drakkar-Grant ',
    'a grant of another scheme': () => `Bearer ${grantOf(caller.peer, blob, clusterKey)}`,
    'another peer’s grant': async () => `Drakkar-Grant ${grantOf(await other(), blob, clusterKey)}`,
    'an expired grant': () => grant(expired),
    'a grant that another key signed': () => `Drakkar-Grant ${grantOf(caller.peer, blob, somebody)}`,
    'a grant that its own key signed': () => `Drakkar-Grant ${grantOf(caller.peer, blob, caller.key)}`,
    'a grant with another time': () => `Drakkar-Grant ${flipped(grantOf(caller.peer, blob, clusterKey), 0)}`,
    'a grant with another path': () => `Drakkar-Grant ${flipped(grantOf(caller.peer, blob, clusterKey), 1)}`,
    'a grant with another signature': () =>
      `Drakkar-Grant ${flipped(grantOf(caller.peer, blob, clusterKey), 2)}`,
    'a grant without its signature': () =>
      `Drakkar-Grant ${grantOf(caller.peer, blob, clusterKey).replace(/[^.]*$/, '')}`,
    'a grant for another blob': () =>
      `Drakkar-Grant ${grantOf(caller.peer, { ...blob, digest: digestOf('other') }, clusterKey)}`,
    'a grant for the blob of another registry': () =>
      `Drakkar-Grant ${grantOf(caller.peer, { ...blob, origin: 'registry.example' }, clusterKey)}`,
    'another peer’s membership': async () => `Drakkar-Member ${membershipOf(await other(), clusterKey)}`,
    'an expired membership': () => member(expired),
    'a membership that another key signed': () => `Drakkar-Member ${membershipOf(caller.peer, somebody)}`,
    'a membership in the place of a grant': () => `Drakkar-Grant ${membershipOf(caller.peer, clusterKey)}`,
    'a grant in the place of a membership': () => `Drakkar-Member ${grantOf(caller.peer, blob, clusterKey)}`,
    'a grant of two thousand letters': () => `Drakkar-Grant ${'a'.repeat(1024)}.${'b'.repeat(1024)}`,
  };
  test.each(Object.keys(CASES))('%s', async (what) => {
    const authorization = await CASES[what]?.();
    const { statuses, bytes } = await speak(port, caller.tls, headOf(piecesOf(blob), authorization));
    expect(statuses).toEqual([403]);
    requireNothing(bytes);
  });

  test('a member’s name on a key of its own', async () => {
    const { X509CertificateGenerator } = await import('@peculiar/x509');
    const victim = await callerOf(await peerKeyOf(fleet.hosts[1] as FleetHost));
    const keys = (await webcrypto.subtle.generateKey('Ed25519', true, [
      'sign',
      'verify',
    ])) as webcrypto.CryptoKeyPair;
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${victim.peer}`,
      keys,
      signingAlgorithm: 'Ed25519',
    });
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`;
    const authorization = `Drakkar-Grant ${grantOf(victim.peer, blob, clusterKey)}`;
    const tls = { cert: certificate.toString('pem'), key };
    const { statuses, bytes } = await speak(port, tls, headOf(piecesOf(blob), authorization));
    expect(statuses).toEqual([403]);
    requireNothing(bytes);
  });

  test('no certificate', async () => {
    const { statuses, bytes } = await speak(port, {}, headOf(piecesOf(blob), grant()));
    expect(statuses).toEqual([403]);
    requireNothing(bytes);
  });

  test('TLS 1.2', async () => {
    const tls = { ...caller.tls, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    const { statuses, error } = await speak(port, tls, headOf(piecesOf(blob), grant()));
    expect(statuses).toEqual([]);
    expect(error).toMatch(/version/i);
  });

  test('no TLS', async () => {
    const socket = connectTcp(port, '127.0.0.1');
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => {});
    socket.write(headOf(piecesOf(blob), grant()));
    await new Promise((resolve) => socket.once('close', resolve));
    requireNothing(Buffer.concat(parts));
    expect(Buffer.concat(parts).toString('latin1')).not.toContain('HTTP/');
  });
});

describe('a certificate that was copied from a member', () => {
  test('fits no other key', async () => {
    const victim = await callerOf(await peerKeyOf(fleet.hosts[1] as FleetHost));
    expect(() =>
      connect({ host: '127.0.0.1', port, ...caller.tls, cert: victim.tls.cert as string }),
    ).toThrow(/mismatch/i);
  });

  test('is worth nothing with all that the member has said in its handshake', async () => {
    const victim = await callerOf(await peerKeyOf(fleet.hosts[1] as FleetHost));
    const authorization = `Drakkar-Grant ${grantOf(victim.peer, blob, clusterKey)}`;
    const heard: Buffer[] = [];
    const wire = createServer((near: Socket) => {
      const far = connectTcp(port, '127.0.0.1');
      near.on('data', (bytes) => heard.push(bytes));
      near.pipe(far).pipe(near);
      for (const end of [near, far]) end.on('error', () => {});
    });
    await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve));
    const { port: tapped } = wire.address() as { port: number };
    expect((await speak(tapped, victim.tls, headOf(piecesOf(blob), authorization))).statuses).toEqual([200]);
    wire.close();
    const thief = connectTcp(port, '127.0.0.1');
    const answer: Buffer[] = [];
    thief.on('data', (bytes) => answer.push(bytes));
    thief.on('error', () => {});
    thief.write(Buffer.concat(heard));
    await new Promise((resolve) => thief.once('close', resolve));
    // Nothing but a handshake that came to nothing: the request and its answer are longer.
    expect(Buffer.concat(answer).length).toBeLessThan(4096);
  });
});

describe('a request that is none', () => {
  const hex = () => blob.digest.slice('sha256:'.length);
  const query = () => `?origin=${encodeURIComponent(blob.origin)}`;
  const TARGETS: Readonly<Record<string, readonly [() => string, number]>> = {
    'of pieces from the end to the start': [() => piecesOf(blob, '2-1'), 400],
    'of a negative piece': [() => piecesOf(blob, '-1-0'), 400],
    'of a piece that is no number': [() => piecesOf(blob, 'a-b'), 400],
    'of 10^30 pieces': [() => piecesOf(blob, `0-1${'0'.repeat(30)}`), 400],
    'of 999,999,999 pieces': [() => piecesOf(blob, '0-999999999'), 404],
    'of the piece behind the last': [() => piecesOf(blob, '4-4'), 404],
    'of a piece far behind the last': [() => piecesOf(blob, '999999999-999999999'), 404],
    'of a path outside': [() => `/v1/blobs/../../../../etc/passwd/pieces/0-0${query()}`, 400],
    'of an escaped path outside': [
      () => `/v1/blobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd/pieces/0-0${query()}`,
      400,
    ],
    'of a digest with a path in it': [
      () => `/v1/blobs/sha256:${hex().slice(0, 60)}/../pieces/0-0${query()}`,
      400,
    ],
    'of a digest in capitals': [() => `/v1/blobs/sha256:${hex().toUpperCase()}/pieces/0-0${query()}`, 400],
    'of a digest of another kind': [() => `/v1/blobs/sha512:${hex()}${hex()}/pieces/0-0${query()}`, 400],
    'without a registry': [() => `/v1/blobs/${blob.digest}/pieces/0-0`, 400],
    'with a registry of spaces': [() => `/v1/blobs/${blob.digest}/pieces/0-0?origin=%20%0a`, 400],
    'of another server': [() => `https://elsewhere/v1/blobs/${blob.digest}/pieces/0-0`, 400],
    'of nothing': [() => '/', 400],
    'of a URL that is none': [() => 'https://[', 400],
  };
  test.each(Object.keys(TARGETS))('%s is refused', async (what) => {
    const [target, status] = TARGETS[what] ?? [() => '', 0];
    const { statuses, bytes } = await speak(port, caller.tls, headOf(target(), member()));
    expect(statuses).toEqual([status]);
    requireNothing(bytes);
  });

  test.each(['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PATCH'])(
    '%s is refused',
    async (method) => {
      const end = 'connection: close\r\ncontent-length: 0\r\n';
      const { statuses, bytes } = await speak(port, caller.tls, headOf(piecesOf(blob), grant(), method, end));
      expect(statuses).toEqual([400]);
      requireNothing(bytes);
    },
  );

  test.each<[string, () => string, readonly number[]]>([
    ['a head of a megabyte', () => headOf(piecesOf(blob), 'a'.repeat(MEBIBYTE)), [431]],
    ['a target of a megabyte', () => headOf(`/${'a'.repeat(MEBIBYTE)}`, grant()), [431]],
    ['a line that never ends', () => 'G'.repeat(MEBIBYTE), [400]],
    ['another protocol', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    [
      'two lengths',
      () => headOf(piecesOf(blob), grant(), 'GET', 'content-length: 1\r\ncontent-length: 2\r\n'),
      [400],
    ],
  ])('%s is refused, and the connection ended', async (_, bytes, statuses) => {
    const answer = await speak(port, caller.tls, bytes());
    // A connection that breaks under what still comes may take the answer with it.
    if (answer.statuses.length > 0) expect(answer.statuses).toEqual(statuses);
    else expect(answer.error).toMatch(/ECONNRESET|EPIPE|closed/);
    requireNothing(answer.bytes);
  });
});

describe('a daemon serves others while', () => {
  const held: TLSSocket[] = [];
  const opened = async (count: number, tls: Caller['tls']) => {
    for (let rest = count; rest > 0; rest -= 50) {
      const dialled = Array.from({ length: Math.min(rest, 50) }, () => dial(port, tls));
      for (const result of await Promise.allSettled(dialled)) {
        if (result.status === 'fulfilled') held.push(result.value);
      }
    }
    for (const socket of held) socket.on('error', () => {});
  };
  const letGo = () => {
    for (const socket of held.splice(0)) socket.destroy();
  };

  test.each<[string, () => Promise<unknown>]>([
    [
      'thousands of requests come on one connection',
      async () => {
        const one = headOf(piecesOf(blob), grant(), 'GET', '');
        const flood = one.repeat(3_000) + headOf(piecesOf(blob), grant());
        const { statuses } = await speak(port, caller.tls, flood);
        // All are answered, or the connection is cut.
        expect(statuses.length).toBeGreaterThan(0);
        expect(statuses.filter((status) => ![200, 503, 400].includes(status))).toEqual([]);
      },
    ],
    [
      'thousands of requests without a grant come on one connection',
      async () => {
        const { statuses } = await speak(
          port,
          caller.tls,
          headOf(piecesOf(blob), undefined, 'GET', '').repeat(3_000) + headOf('/'),
        );
        expect(statuses.slice(0, -1).filter((status) => ![403, 400].includes(status))).toEqual([]);
      },
    ],
    [
      'thousands of answers are asked for and not read',
      async () => {
        await opened(1, caller.tls);
        const [socket] = held;
        socket?.pause();
        socket?.write(headOf(piecesOf(blob, '0-3'), grant(), 'GET', '').repeat(3_000));
      },
    ],
    [
      'thousands of connections are opened, say nothing, and all but some are closed',
      async () => {
        await opened(3_000, caller.tls);
        expect(held.filter(({ destroyed }) => !destroyed).length).toBeLessThanOrEqual(256);
      },
    ],
    [
      'hundreds of connections without a certificate say their heads letter by letter',
      async () => {
        await opened(300, {});
        for (const socket of held) socket.write('GET /v1/blobs/sha256:0');
        const more = setInterval(() => {
          for (const socket of held) socket.write('0');
        }, 200);
        held[0]?.once('close', () => clearInterval(more));
      },
    ],
    [
      'hundreds of connections have what they ask for sent, and read none of it',
      async () => {
        await opened(200, caller.tls);
        for (const socket of held) {
          socket.pause();
          socket.write(headOf(piecesOf(blob, '0-3'), grant(), 'GET', ''));
        }
      },
    ],
  ])('%s', async (what, attack) => {
    const { pid } = await host.client.status();
    const before = await residentBytes(pid);
    try {
      await Promise.all([attack(), requireService()]);
      await requireService();
      const growth = (await residentBytes(pid)) - before;
      console.info(`${what}: ${Math.round(growth / MEBIBYTE)} MiB more`);
      expect(growth).toBeLessThan(GROWTH_BYTES);
      expect((await host.client.status()).pid).toBe(pid);
    } finally {
      letGo();
    }
  });
});

test('after all of it, the pieces are what they were', async () => {
  const { receipt } = await (fleet.hosts[1] as FleetHost).client.pull({ image });
  expect(receipt).toMatchObject({ peerBytes: SIZE_BYTES, upstreamBytes: 0 });
  for (const each of fleet.hosts) await requireRight(each.stateDirectory, [blob.digest]);
  for (const each of fleet.hosts) expect(each.output()).not.toMatch(/unhandled|uncaught/i);
});
