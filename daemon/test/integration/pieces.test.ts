import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createContent, newReceipt, type PieceBlob, type ReceiptCounter } from '../../src/content/index.ts';
import { DeviceFill } from '../../src/fill/index.ts';
import { FillLanes } from '../../src/fill/lanes.ts';
import type { NativeHelper } from '../../src/native.ts';
import { openStore } from '../../src/store/index.ts';
import { type Cluster, type ClusterHost, startCluster } from '../kit/cluster.ts';
import { type CutBlob, cutBlob, wrongTable } from '../kit/cut-blob.ts';
import { startLiar } from '../kit/liar.ts';

const KIBIBYTE = 1024;
/** As a device has: about half a megabyte each, and a short one at the end. */
const LENGTHS = [
  ...Array.from({ length: 15 }, (_, piece) => 300 * KIBIBYTE + piece * 1_001),
  ...[5, 400 * KIBIBYTE, 77],
];
const ALL = LENGTHS.map((_, piece) => piece);
const WAIT_MS = 20_000;

const soon = () => AbortSignal.timeout(WAIT_MS);
const urgent = () => ({ urgent: true, signal: soon() });
const unhurried = () => ({ urgent: false, signal: soon() });
const lengthOf = (...pieces: readonly number[]): number =>
  pieces.reduce((sum, piece) => sum + (LENGTHS[piece] ?? 0), 0);

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

const openPieces = (
  { content }: Pick<ClusterHost, 'content'>,
  { digest, sizeBytes, named }: CutBlob,
  receipt: ReceiptCounter = newReceipt(),
): Promise<PieceBlob> => content.openPieces({ image: cluster.image, digest, sizeBytes }, named, receipt);

function requirePieces(pieces: PieceBlob, blob: CutBlob, ...wanted: readonly number[]): void {
  const file = readFileSync(pieces.path);
  for (const piece of wanted) {
    expect(pieces.has(piece)).toBe(true);
    const { offset = 0, length = 0 } = blob.named.table.pieces[piece] ?? {};
    expect(file.subarray(offset, offset + length).equals(blob.piece(piece))).toBe(true);
  }
}

const upstreamBytes = ({ digest }: CutBlob): number => cluster.proxy.bytes(digest);

async function whileAway(run: () => Promise<void>): Promise<void> {
  cluster.proxy.interrupt();
  try {
    await run();
  } finally {
    cluster.proxy.resume();
  }
}

describe('without other hosts', () => {
  test('a piece costs its own bytes and no more, and neighbours one request', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    const receipt = newReceipt();
    await using pieces = await openPieces({ content }, blob, receipt);
    await pieces.want([4], urgent());
    expect(upstreamBytes(blob)).toBe(lengthOf(4));
    requirePieces(pieces, blob, 4);
    expect(pieces.presentPieces).toBe(1);
    await pieces.want([4, 7, 8, 9], urgent());
    expect(upstreamBytes(blob)).toBe(lengthOf(4, 7, 8, 9));
    expect(cluster.proxy.requests(`GET /v2/library/thing/blobs/${blob.digest}`)).toBe(2);
    expect(cluster.proxy.requests(`HEAD /v2/library/thing/blobs/${blob.digest}`)).toBe(0);
    requirePieces(pieces, blob, 4, 7, 8, 9);
    expect(receipt.summary()).toMatchObject({ upstreamBytes: lengthOf(4, 7, 8, 9), discardedBytes: 0 });
    await expect(pieces.want([18], urgent())).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  test('blocks of a device that are asked for together come in one request', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    const receipt = newReceipt();
    const pieces = await openPieces({ content }, blob, receipt);
    const filled: number[] = [];
    const fillDevice: NativeHelper['fillDevice'] = async ({ blocks }) => {
      filled.push(...blocks.map(({ block }) => block));
      return [];
    };
    const blockBytes = 512 * KIBIBYTE;
    const file = {
      blobDigest: blob.digest,
      blobSizeBytes: blob.sizeBytes,
      rawDigest: digestOf('the device'),
      rawSizeBytes: (LENGTHS.length - 1) * blockBytes,
      piecesDigest: blob.named.digest,
      piecesSizeBytes: blob.encoded.length,
    };
    const lanes = new FillLanes([{ fillDevice } as NativeHelper]);
    await using device = new DeviceFill(file, { blob: pieces, lanes });
    await device.bring([3, 4, 5, 6], 'soon', soon());
    expect(filled.toSorted()).toEqual([3, 4, 5, 6]);
    expect(cluster.proxy.requests(`GET /v2/library/thing/blobs/${blob.digest}`)).toBe(1);
    await device.wish([9, 10, 11], soon(), (_, cause) => expect.unreachable(String(cause)));
    expect(filled).toEqual(expect.arrayContaining([9, 10, 11]));
    // The third is what the reader may read next.
    await expect.poll(() => cluster.proxy.requests(`GET /v2/library/thing/blobs/${blob.digest}`)).toBe(3);
  });

  test('what somebody waits for does not wait behind a long stream', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    await using pieces = await openPieces({ content }, blob);
    let streams = 0;
    // The stream of what is wanted in order says nothing; whatever comes behind it is good.
    cluster.proxy.fault = ({ method, path }) => {
      if (method !== 'GET' || !path.includes(blob.digest)) return undefined;
      streams += 1;
      return streams === 1 ? { kind: 'silence' } : undefined;
    };
    const prefetch = pieces.want([0, 1, 2, 3, 4, 5], unhurried());
    await pieces.want([12], urgent());
    requirePieces(pieces, blob, 12);
    await prefetch;
    requirePieces(pieces, blob, 0, 5, 12);
    cluster.proxy.fault = () => undefined;
  });

  test('a piece whose bytes are others than the table’s is refused and never written; the others come', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    const wrong = { ...blob, named: wrongTable(blob, 2) };
    await using pieces = await openPieces({ content }, wrong);
    await expect(pieces.want([1, 2, 3], urgent())).rejects.toMatchObject({
      code: 'invalid_content',
      message: expect.stringContaining('piece 2'),
    });
    await pieces.want([1, 3], urgent());
    expect([1, 2, 3].map((piece) => pieces.has(piece))).toEqual([true, false, true]);
    const { offset = 0, length = 0 } = blob.named.table.pieces[2] ?? {};
    const written = readFileSync(pieces.path).subarray(offset, offset + length);
    expect(written.equals(Buffer.alloc(length))).toBe(true);
  });

  test('who waits is told when nobody gives it, and has it when the registry is back', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    await using pieces = await openPieces({ content }, blob);
    await whileAway(async () => {
      await expect(pieces.want([3], urgent())).rejects.toMatchObject({ code: 'unavailable' });
      await expect(pieces.want([4], unhurried())).rejects.toMatchObject({ code: 'unavailable' });
    });
    await pieces.want([3, 4], urgent());
    requirePieces(pieces, blob, 3, 4);
  });

  test('a wait has an end where it is given one', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    await using pieces = await openPieces({ content }, blob);
    cluster.proxy.fault = () => ({ kind: 'silence' });
    const signal = AbortSignal.timeout(30);
    await expect(pieces.want([3], { urgent: true, signal })).rejects.toMatchObject({ code: 'timeout' });
    cluster.proxy.fault = () => undefined;
  });

  test('what is here stays over a kill, and good pieces alone count', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    const [before, after] = [join(home.path, 'before'), join(home.path, 'after')];
    {
      await using store = await openStore({ directory: before });
      await using content = createContent({}, { store, client: cluster.client });
      await using pieces = await openPieces({ content }, blob);
      await pieces.want([2, 5, 6], urgent());
      // Nothing is wanted any more: soon it is on the disk.
      while (store.stat(blob.digest)?.presentBytes !== lengthOf(2, 5, 6)) await later();
      await using file = await open(pieces.path, 'r+');
      await file.write(Buffer.from('damaged'), 0, 7, blob.named.table.pieces[5]?.offset ?? 0);
      execFileSync('cp', ['-a', '--sparse=always', before, after]);
    }
    await using store = await openStore({ directory: after });
    await using content = createContent({}, { store, client: cluster.client });
    const receipt = newReceipt();
    await using pieces = await openPieces({ content }, blob, receipt);
    expect([2, 5, 6].map((piece) => pieces.has(piece))).toEqual([true, false, true]);
    await pieces.want([2, 5, 6], urgent());
    requirePieces(pieces, blob, 2, 5, 6);
    expect(receipt.summary()).toMatchObject({ storeBytes: lengthOf(2, 6), upstreamBytes: lengthOf(5) });
  });

  test('all of it is complete in the store with the right digest, at the pace that is let through', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    const receipt = newReceipt();
    let passed = 0;
    {
      await using pieces = await openPieces({ content }, blob, receipt);
      await pieces.want([9], urgent());
      const { path } = pieces;
      await pieces.complete({
        signal: soon(),
        pass: async (bytes) => {
          passed += bytes;
        },
      });
      expect(passed).toBe(blob.sizeBytes - lengthOf(9));
      expect(pieces.path).toBe(path);
      requirePieces(pieces, blob, ...ALL);
      expect(store.pathOf(blob.digest)).toBe(path);
      expect(upstreamBytes(blob)).toBe(blob.sizeBytes);
      expect(receipt.summary()).toMatchObject({ upstreamBytes: blob.sizeBytes, storeBytes: 0 });
    }
    // Opened again it is here, and nobody is asked.
    await using again = await openPieces({ content }, blob);
    expect(again.presentPieces).toBe(ALL.length);
    await again.want(ALL, urgent());
    await again.complete({ signal: soon() });
    expect(upstreamBytes(blob)).toBe(blob.sizeBytes);
  });

  test('two that have it open share each piece, whoever closes first', async () => {
    const blob = await cluster.push(LENGTHS);
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    const receipts = [newReceipt(), newReceipt()] as const;
    const [one, other] = await Promise.all(receipts.map((receipt) => openPieces({ content }, blob, receipt)));
    if (one === undefined || other === undefined) throw new Error('it did not open');
    await Promise.all([one.want([1, 2], urgent()), other.want([2, 3], urgent())]);
    expect(other.has(1)).toBe(true);
    expect(upstreamBytes(blob)).toBe(lengthOf(1, 2, 3));
    const [first, second] = receipts.map((receipt) => receipt.summary());
    expect(first).toMatchObject({ upstreamBytes: lengthOf(1, 2), joinedBytes: 0 });
    expect(second).toMatchObject({ upstreamBytes: lengthOf(3), joinedBytes: lengthOf(2) });
    await one[Symbol.asyncDispose]();
    await other.want([4], urgent());
    requirePieces(other, blob, 1, 2, 3, 4);
    await other[Symbol.asyncDispose]();
  });

  test('whole or in pieces, at once or one after the other: it is downloaded once', async () => {
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    for (const isWholeFirst of [true, false]) {
      const blob = await cluster.push(LENGTHS);
      const fetchWhole = () =>
        content.fetch({ image: cluster.image, digest: blob.digest, sizeBytes: blob.sizeBytes }, newReceipt());
      const whole = isWholeFirst ? fetchWhole() : undefined;
      await using pieces = await openPieces({ content }, blob);
      await pieces.want([3], urgent());
      await (whole ?? fetchWhole());
      requirePieces(pieces, blob, ...ALL);
      expect(digestOf(readFileSync(store.pathOf(blob.digest)))).toBe(blob.digest);
      expect(upstreamBytes(blob)).toBe(blob.sizeBytes);
    }
  });

  test('the table of another blob opens nothing', async () => {
    const [blob, other] = [await cluster.push(LENGTHS), await cluster.push(LENGTHS)];
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path });
    await using content = createContent({}, { store, client: cluster.client });
    await expect(openPieces({ content }, { ...blob, named: other.named })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });
});

describe('with other hosts', () => {
  test('a piece comes from who has all of it, and the registry is not asked', async () => {
    const blob = await cluster.push(LENGTHS);
    await using first = await cluster.host();
    await using second = await cluster.host();
    await using held = await openPieces(first, blob);
    await held.complete({ signal: soon() });
    await whileAway(async () => {
      const receipt = newReceipt();
      await using pieces = await openPieces(second, blob, receipt);
      await pieces.want([4], urgent());
      await pieces.want([0, 1, 16], unhurried());
      requirePieces(pieces, blob, 0, 1, 4, 16);
      expect(pieces.presentPieces).toBe(4);
      expect(receipt.summary()).toMatchObject({ peerBytes: lengthOf(0, 1, 4, 16), upstreamBytes: 0 });
      await pieces.complete({ signal: soon() });
      expect(digestOf(readFileSync(second.store.pathOf(blob.digest)))).toBe(blob.digest);
      expect(receipt.summary()).toMatchObject({ peerBytes: blob.sizeBytes, upstreamBytes: 0 });
    });
  });

  test('who has built a blob, or had it as a whole, gives its pieces, also after it was started again', async () => {
    const blob = await cluster.push(LENGTHS);
    const key = generateKeyPairSync('ed25519').privateKey;
    await using child = await cluster.host();
    let { directory }: { directory?: string } = {};
    {
      await using builder = await cluster.host({ key });
      directory = builder.directory;
      const { store, content } = builder;
      await store.put(blob.encoded, 'application/octet-stream');
      await store.put(blob.bytes, 'application/octet-stream');
      await content.offerPieces(cluster.image, blob.digest, blob.named.digest);
      await whileAway(async () => {
        await using pieces = await openPieces(child, blob);
        await wantAgain(pieces, 4);
        requirePieces(pieces, blob, 4);
      });
    }
    await using _again = await cluster.host({ key, directory });
    await whileAway(async () => {
      await using pieces = await openPieces(child, blob);
      await wantAgain(pieces, 4, 5);
      requirePieces(pieces, blob, 4, 5);
    });
  });

  test('who has a few pieces gives those at once, and the others come from the registry', async () => {
    const blob = await cluster.push(LENGTHS);
    await using first = await cluster.host();
    await using second = await cluster.host();
    await using held = await openPieces(first, blob);
    await held.want([2, 3], urgent());
    const receipt = newReceipt();
    await using pieces = await openPieces(second, blob, receipt);
    await pieces.want([2, 3, 4], urgent());
    requirePieces(pieces, blob, 2, 3, 4);
    expect(receipt.summary()).toMatchObject({ peerBytes: lengthOf(2, 3), upstreamBytes: lengthOf(4) });
    // And the first has what the second has just got.
    await whileAway(async () => {
      await held.want([4], urgent());
      requirePieces(held, blob, 4);
    });
    expect(upstreamBytes(blob)).toBe(lengthOf(2, 3, 4));
  });

  test('a peer that sends other bytes is left, and they are never written', async () => {
    const blob = await cluster.push(LENGTHS);
    await using liar = await cluster.host();
    await using child = await cluster.host();
    await using held = await openPieces(liar, blob);
    await held.want([6, 7], urgent());
    {
      await using file = await open(held.path, 'r+');
      await file.write(Buffer.from('a lie'), 0, 5, (blob.named.table.pieces[6]?.offset ?? 0) + 9);
    }
    const receipt = newReceipt();
    await using pieces = await openPieces(child, blob, receipt);
    await pieces.want([6], urgent());
    requirePieces(pieces, blob, 6);
    expect(receipt.summary()).toMatchObject({ peerBytes: 0, upstreamBytes: lengthOf(6) });
    expect(receipt.summary().discardedBytes).toBeGreaterThan(0);
  });

  test('a peer that says other hashes than the table is asked for nothing', async () => {
    const blob = await cluster.push(LENGTHS);
    const name = { digest: blob.digest, origin: cluster.image.registry, table: blob.named.digest };
    await using liar = await startLiar(cluster, name, blob.sizeBytes, LENGTHS.length);
    await using child = await cluster.host();
    const receipt = newReceipt();
    await using pieces = await openPieces(child, blob, receipt);
    await pieces.want([6], urgent());
    requirePieces(pieces, blob, 6);
    expect(liar.asked).toBeGreaterThan(0);
    expect(receipt.summary()).toMatchObject({ peerBytes: 0, upstreamBytes: lengthOf(6), discardedBytes: 0 });
  });

  test('when neither peers nor registry give it who waits is told, and has it when one is back', async () => {
    const blob = await cluster.push(LENGTHS);
    const key = generateKeyPairSync('ed25519').privateKey;
    await using child = await cluster.host();
    const first = await cluster.host({ key });
    const held = await openPieces(first, blob);
    await held.complete({ signal: soon() });
    await using pieces = await openPieces(child, blob);
    await pieces.want([0], urgent());
    await first[Symbol.asyncDispose]();
    await whileAway(async () => {
      await expect(pieces.want([1], urgent())).rejects.toMatchObject({ code: 'unavailable' });
      await using _back = await cluster.host({ key, directory: first.directory });
      await wantAgain(pieces, 1);
      requirePieces(pieces, blob, 0, 1);
    });
    await pieces.want([2], urgent());
    requirePieces(pieces, blob, 2);
  });

  test('who asks before there is a supernode waits for it, though the registry has nothing', async () => {
    const blob = cutBlob(LENGTHS);
    await using builder = await cluster.host();
    await builder.store.put(blob.encoded, 'application/octet-stream');
    await builder.store.put(blob.bytes, 'application/octet-stream');
    await builder.content.offerPieces(cluster.image, blob.digest, blob.named.digest);
    await using child = await cluster.host({ joinsLater: true });
    await using pieces = await openPieces(child, blob);
    const wanted = pieces.want([4], urgent());
    await expect.poll(() => cluster.proxy.requests(blob.digest)).toBeGreaterThan(0);
    child.swarm.join();
    await wanted;
    requirePieces(pieces, blob, 4);
  });

  test('what somebody waits for comes before what a slow peer sends in bulk', async () => {
    const blob = await cluster.push(LENGTHS);
    await using first = await cluster.host({ limits: { uploadRate: 2 * KIBIBYTE * KIBIBYTE } });
    await using second = await cluster.host();
    await using held = await openPieces(first, blob);
    await held.complete({ signal: soon() });
    await whileAway(async () => {
      await using pieces = await openPieces(second, blob);
      const bulk = pieces.want(ALL, unhurried());
      await pieces.want([14], urgent());
      expect(pieces.presentPieces).toBeLessThan(8);
      requirePieces(pieces, blob, 14);
      await bulk;
      requirePieces(pieces, blob, ...ALL);
    });
  });

  test('hosts that know each other go on without a supernode', async () => {
    await using alone = await startCluster();
    const [blob, known] = [await alone.push(LENGTHS), await alone.push(LENGTHS)];
    await using first = await alone.host();
    await using second = await alone.host();
    const open = ({ content }: ClusterHost, { digest, sizeBytes, named }: CutBlob) =>
      content.openPieces({ image: alone.image, digest, sizeBytes }, named, newReceipt());
    await using held = await open(first, blob);
    await held.want([2, 3], urgent());
    {
      await using one = await open(first, known);
      await one.want([0], urgent());
      await using other = await open(second, known);
      await other.want([0], urgent());
    }
    await alone.supernode[Symbol.asyncDispose]();
    while (second.swarm.status().supernode.up) await later();
    await using pieces = await open(second, blob);
    await pieces.want([2], urgent());
    await pieces.want([3, 4], urgent());
    requirePieces(pieces, blob, 2, 3, 4);
    expect(alone.proxy.bytes(blob.digest)).toBe(lengthOf(2, 3, 4));
  });

  test('hosts that all want all of it cost the registry one copy', async () => {
    const blob = await cluster.push([...LENGTHS, ...LENGTHS, ...LENGTHS]);
    await using stack = new AsyncDisposableStack();
    const hosts: ClusterHost[] = [];
    for (let index = 0; index < 3; index += 1) hosts.push(stack.use(await cluster.host()));
    await Promise.all(
      hosts.map(async (host) => {
        await using pieces = await openPieces(host, blob);
        await pieces.complete({ signal: AbortSignal.timeout(60_000) });
        expect(digestOf(readFileSync(host.store.pathOf(blob.digest)))).toBe(blob.digest);
      }),
    );
    expect(upstreamBytes(blob)).toBe(blob.sizeBytes);
  });

  test('a piece that a connected peer has comes without anybody else being waited for', async () => {
    await using first = await cluster.host();
    await using second = await cluster.host();
    const took: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      const blob = await cluster.push(LENGTHS);
      await using held = await openPieces(first, blob);
      await held.complete({ signal: soon() });
      const beganMs = performance.now();
      await using pieces = await openPieces(second, blob);
      await pieces.want([4], urgent());
      took.push(performance.now() - beganMs);
      requirePieces(pieces, blob, 4);
      expect(upstreamBytes(blob)).toBe(blob.sizeBytes);
    }
    console.info(`first pieces took ${took.map((ms) => ms.toFixed(1)).join(', ')} ms`);
  });
});

/** As who waits for a while does: the supernode says whom to ask when it has heard of them. */
async function wantAgain(pieces: PieceBlob, ...wanted: readonly number[]): Promise<void> {
  for (let tries = 0; tries < 20 && !wanted.every((piece) => pieces.has(piece)); tries += 1) {
    await pieces.want(wanted, urgent()).catch(() => {});
  }
}

const later = () => new Promise((resolve) => setTimeout(resolve, 20));
