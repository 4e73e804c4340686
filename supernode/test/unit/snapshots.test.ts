import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { create, toBinary } from '@bufbuild/protobuf';
import { temporaryDirectory } from '@drakkar/lab';
import {
  clusterKeyName,
  type Digest,
  decodeTrace,
  digestOf,
  encodePublicKey,
  encodeTrace,
  FromSupernodeSchema,
  type PeerId,
  parseRepository,
  peerIdOf,
  rawOf,
  type SnapshotMessage,
  SnapshotMessageSchema,
  signVoucher,
  verifyVoucher,
} from '@drakkar/protocol';
import { Traces } from '@drakkar/service';
import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { readAnnounced } from '../../src/snapshots/announced.ts';
import { type KnownSnapshot, SnapshotCatalogue } from '../../src/snapshots/catalogue.ts';
import { Snapshots } from '../../src/snapshots/snapshots.ts';
import { PLATFORM, REPOSITORY, snapshotOf } from '../kit/snapshot.ts';

const newKey = () => generateKeyPairSync('ed25519').privateKey;
const clusterKey = newKey();
const LIMITS = { maxSnapshots: 100, maxBytes: 2 ** 20, keepMs: 1_000 };
const [a, b] = ['a', 'b'].map(() => peerIdOf(newKey())) as [PeerId, PeerId];
const START = rawOf(digestOf('start'));

interface Cluster extends AsyncDisposable {
  readonly snapshots: Snapshots;
  /** Blobs that somebody has; all where it is `undefined`. */
  held: ReadonlySet<Digest> | undefined;
  readonly revoked: Set<PeerId>;
  readonly path: string;
  find(root: Digest, brief?: boolean): Found;
}

interface Found {
  readonly known: boolean;
  readonly snapshot?: SnapshotMessage | undefined;
  readonly voucher: string;
  readonly learned: Uint8Array;
}

async function startCluster(builders = ['*'], path?: string): Promise<Cluster> {
  await using started = new AsyncDisposableStack();
  const directory = path ?? started.use(await temporaryDirectory('snapshots')).path;
  const catalogue = started.use(new SnapshotCatalogue(join(directory, 'snapshots.sqlite'), LIMITS));
  const traces = started.use(new Traces(join(directory, 'traces.sqlite'), { maxBytes: 2 ** 20 }));
  const revoked = new Set<PeerId>();
  const snapshots = new Snapshots(
    { builders },
    {
      catalogue,
      traces,
      authority: { vouch: (said, nowMs) => signVoucher({ ...said, expiresAtMs: nowMs + 1000 }, clusterKey) },
      members: {
        find: (peer) => ({
          peer,
          name: peer === a ? 'host-a' : 'host-b',
          enrolledAtMs: 0,
          expiresAtMs: 0,
          seenAtMs: 0,
          revokedAtMs: revoked.has(peer) ? 1 : null,
        }),
      },
      swarm: { hasSeed: ({ name }) => cluster.held?.has(name.digest) ?? true, seedsOf: () => [] },
      now: () => 0,
      log: pino({ level: 'silent' }),
    },
  );
  const running = started.move();
  const cluster: Cluster = {
    snapshots,
    held: undefined,
    revoked,
    path: directory,
    find(root, brief = false) {
      const question = { number: 7, repository: REPOSITORY, platform: PLATFORM, root: rawOf(root) };
      const answer = snapshots.find({ ...question, startKey: START, brief } as never);
      const { message } = create(FromSupernodeSchema, answer);
      if (message.case !== 'found') throw new Error('no answer');
      expect(message.value.number).toBe(7);
      return message.value;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  return cluster;
}

const rootOf = ({ documents: [root] }: SnapshotMessage): Digest => digestOf(root ?? Buffer.of());
const manifestOf = ({ documents }: SnapshotMessage): Digest => digestOf(documents.at(-1) ?? Buffer.of());

describe('an announced snapshot', () => {
  test('is found by what a tag means and by its manifest, with the cluster’s word for its builder', async () => {
    await using cluster = await startCluster();
    const key = newKey();
    const { message } = snapshotOf('app', key);
    expect(cluster.find(rootOf(message)).known).toBe(false);
    cluster.snapshots.announce(a, message);
    for (const digest of [rootOf(message), manifestOf(message)]) {
      const { snapshot, voucher } = cluster.find(digest);
      expect(snapshot).toEqual(message);
      expect(verifyVoucher(voucher, [clusterKeyName(clusterKey)], Date.now())).toMatchObject({
        manifest: manifestOf(message),
        platform: PLATFORM,
        envelope: digestOf(message.envelope),
        builder: encodePublicKey(key),
      });
    }
    const brief = cluster.find(rootOf(message), true);
    expect([brief.known, brief.snapshot, brief.voucher]).toEqual([true, undefined, '']);
  });

  test('is known after a restart', async () => {
    await using directory = await temporaryDirectory('snapshots');
    const { message } = snapshotOf('app');
    {
      await using cluster = await startCluster(['*'], directory.path);
      cluster.snapshots.announce(a, message);
    }
    await using cluster = await startCluster(['*'], directory.path);
    expect(cluster.find(rootOf(message)).snapshot).toEqual(message);
  });

  test('stays, whoever announces another later', async () => {
    await using cluster = await startCluster();
    const [first, second] = [snapshotOf('app').message, snapshotOf('app').message];
    cluster.snapshots.announce(a, first);
    cluster.snapshots.announce(b, second);
    expect(cluster.find(rootOf(first)).snapshot?.envelope).toEqual(first.envelope);
  });

  test('of who may not build is not vouched for, and gives way to that of who may', async () => {
    await using cluster = await startCluster(['host-b']);
    const [first, second] = [snapshotOf('app').message, snapshotOf('app').message];
    cluster.snapshots.announce(a, first);
    expect(cluster.find(rootOf(first))).toMatchObject({ known: true, voucher: '' });
    cluster.snapshots.announce(b, second);
    cluster.snapshots.announce(a, first);
    const { snapshot, voucher } = cluster.find(rootOf(first));
    expect(snapshot?.envelope).toEqual(second.envelope);
    expect(voucher).not.toBe('');
  });

  test('goes with the membership of who announced it', async () => {
    await using cluster = await startCluster([a]);
    const { message } = snapshotOf('app');
    cluster.snapshots.announce(a, message);
    cluster.revoked.add(a);
    expect(cluster.find(rootOf(message)).voucher).toBe('');
    cluster.snapshots.revoke(a);
    expect(cluster.find(rootOf(message)).known).toBe(false);
  });

  test('that nobody has all of is not given to anybody, and gives way', async () => {
    await using cluster = await startCluster();
    const { message, config } = snapshotOf('app');
    const later = snapshotOf('app').message;
    cluster.snapshots.announce(a, message);
    cluster.held = new Set([config.meta.blobDigest]);
    expect(cluster.find(rootOf(message)).known).toBe(false);
    cluster.snapshots.announce(b, later);
    cluster.held = undefined;
    expect(cluster.find(rootOf(message)).snapshot?.envelope).toEqual(later.envelope);
  });

  test('is dropped when a host could not have it and nobody has it; not on its word alone', async () => {
    await using cluster = await startCluster();
    const { message } = snapshotOf('app');
    cluster.snapshots.announce(a, { ...message, pushed: true });
    const lost = { repository: REPOSITORY, manifest: rawOf(manifestOf(message)) } as never;
    cluster.snapshots.lost(b, lost);
    expect(cluster.find(rootOf(message)).known).toBe(true);
    cluster.held = new Set();
    expect(cluster.find(rootOf(message)).known).toBe(true);
    cluster.snapshots.lost(b, lost);
    expect(cluster.find(rootOf(message)).known).toBe(false);
  });

  test('whose parts do not belong together is ignored', async () => {
    await using cluster = await startCluster();
    const { message } = snapshotOf('app');
    const other = snapshotOf('other').message;
    const [index = Buffer.of(), manifest = Buffer.of()] = message.documents;
    const wrong: Partial<SnapshotMessage>[] = [
      { repository: 'app' },
      { repository: `${REPOSITORY}:latest` },
      { platform: 'linux/arm64' },
      { platform: '' },
      { documents: [] },
      { documents: [index] },
      { documents: [...other.documents.slice(0, 1), manifest] },
      { documents: [index, index, index, index, manifest] },
      { imageConfig: other.imageConfig },
      { artifact: other.artifact },
      { envelope: other.envelope },
      { envelope: other.envelope, artifact: other.artifact },
      { envelope: Buffer.from(message.envelope).fill(65, 60, 64) },
      { tables: other.tables },
      { tables: message.tables.slice(1) },
      { tables: [...message.tables, ...message.tables] },
    ];
    for (const change of wrong) {
      expect(() => readAnnounced({ ...message, ...change })).toThrow();
      cluster.snapshots.announce(a, { ...message, ...change });
    }
    expect(cluster.find(rootOf(message)).known).toBe(false);
    cluster.snapshots.announce(a, undefined);
  });

  test('comes with what starts of it read', async () => {
    await using cluster = await startCluster();
    const { message, config } = snapshotOf('app');
    cluster.snapshots.announce(a, message);
    const layout = rawOf(config.meta.rawDigest);
    const trace = [{ device: 0, offset: 8192, length: 4096 }];
    cluster.snapshots.report(b, { layout, startKey: START, ranges: encodeTrace(trace) } as never);
    expect(decodeTrace(cluster.find(rootOf(message)).learned)).toEqual(trace);
    const unknown = rawOf(digestOf('no layout of any'));
    cluster.snapshots.report(b, { layout: unknown, startKey: START, ranges: encodeTrace(trace) } as never);
    expect(cluster.snapshots.learn({ number: 8, layout: unknown, startKey: START } as never)).toMatchObject({
      message: { case: 'found', value: { known: false } },
    });
    expect(cluster.snapshots.learn({ number: 9, layout, startKey: START } as never)).toMatchObject({
      message: { case: 'found', value: { number: 9, known: true } },
    });
  });
});

describe('the catalogue', () => {
  const entry = (name: string, bytes: number) => ({
    ...readAnnounced(snapshotOf(name).message),
    announcer: peerIdOf(newKey()),
    pushed: false,
    message: Buffer.alloc(bytes),
  });

  test('stays within its bounds, and forgets what was asked for longest ago', async () => {
    const entries = Array.from({ length: 8 }, (_, index) => entry(`app-${index}`, 1000));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(7), { minLength: 1, maxLength: 30 }), async (uses) => {
        using catalogue = new SnapshotCatalogue(':memory:', { maxSnapshots: 5, maxBytes: 4_500, keepMs: 1 });
        const recent: Digest[] = [];
        for (const [turn, index] of uses.entries()) {
          const used = entries[index] ?? entry('none', 1);
          const nowMs = (turn + 1) * 100_000;
          const isKnown = catalogue.find(used.registry, used.root, PLATFORM, nowMs) !== undefined;
          expect(isKnown).toBe(recent.includes(used.root));
          if (!isKnown) catalogue.put(used, nowMs);
          recent.splice(
            0,
            recent.length,
            ...recent.filter((root) => root !== used.root).slice(-3),
            used.root,
          );
          expect(catalogue.size).toBe(recent.length);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('gives no host more than a quarter of its room', () => {
    using catalogue = new SnapshotCatalogue(':memory:', { maxSnapshots: 20, maxBytes: 20_000, keepMs: 1 });
    const other = entry('other', 100);
    catalogue.put({ ...other, announcer: b }, 0);
    for (let index = 0; index < 8; index += 1)
      catalogue.put({ ...entry(`many ${index}`, 100), announcer: a }, index + 1);
    expect(catalogue.size).toBe(1 + 5);
    for (let index = 0; index < 4; index += 1)
      catalogue.put({ ...entry(`large ${index}`, 2_400), announcer: a }, index + 10);
    expect(catalogue.size).toBe(1 + 2);
    expect(catalogue.find(other.registry, other.root, PLATFORM, 20)).toBeDefined();
  });

  test('forgets what nobody has asked for in a long time', () => {
    using catalogue = new SnapshotCatalogue(':memory:', LIMITS);
    const known = entry('app', 10);
    catalogue.put(known, 0);
    catalogue.expire(LIMITS.keepMs);
    expect(catalogue.size).toBe(1);
    catalogue.expire(LIMITS.keepMs + 1);
    expect(catalogue.size).toBe(0);
  });

  test('knows who shares a blob, also of what an earlier version has written, until it is gone', async () => {
    await using directory = await temporaryDirectory('catalogue');
    const path = join(directory.path, 'snapshots.sqlite');
    const [key, other] = [newKey(), newKey()];
    const announced = [snapshotOf('app', key), snapshotOf('app', other)].map(({ message }) => ({
      ...readAnnounced(message),
      announcer: a,
      pushed: false,
      message: toBinary(SnapshotMessageSchema, message),
    }));
    const [first, second] = announced as [KnownSnapshot, KnownSnapshot];
    const blob = first.blobs[0]?.name.digest as Digest;
    {
      using database = new DatabaseSync(path);
      database.exec(BEFORE);
      const { registry, root, platform, manifest, envelope, builder, layout, message } = first;
      database
        .prepare('INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 5, ?, ?)')
        .run(
          ...[registry, root, platform, manifest, envelope, builder, layout, a],
          ...[JSON.stringify(first.blobs), message.length, message],
        );
    }
    for (const _ of ['made into what this version knows', 'opened again']) {
      using catalogue = new SnapshotCatalogue(path, LIMITS);
      const repository = parseRepository(REPOSITORY).repository;
      expect(catalogue.page({ limit: 5 }).items).toMatchObject([{ manifest: first.manifest, repository }]);
      expect(catalogue.findAny(first.manifest)?.message).toEqual(first.message);
      expect(catalogue.sharing(blob, digestOf('another'))).toEqual([
        { repository, manifest: first.manifest },
      ]);
      expect(catalogue.sharing(blob, first.manifest)).toEqual([]);
    }
    using catalogue = new SnapshotCatalogue(path, LIMITS);
    // The same name: what was there before goes.
    catalogue.put(second, 6);
    const shared = second.blobs[0]?.name.digest as Digest;
    expect(catalogue.sharing(shared, digestOf('another'))).toHaveLength(1);
    expect(catalogue.forgetUnused((_, repository) => repository === 'none', 7)).toBe(0);
    expect(catalogue.forgetUnused(() => true, 7)).toBe(1);
    expect(catalogue.sharing(shared, digestOf('another'))).toEqual([]);
  });
});

/** As of version 0.1. */
const BEFORE = `
  CREATE TABLE snapshots (
    registry TEXT NOT NULL,
    root TEXT NOT NULL,
    platform TEXT NOT NULL,
    manifest TEXT NOT NULL,
    envelope TEXT NOT NULL,
    builder TEXT NOT NULL,
    layout TEXT NOT NULL,
    announcer TEXT NOT NULL,
    pushed INTEGER NOT NULL,
    blobs TEXT NOT NULL,
    used_at_ms INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    message BLOB NOT NULL,
    UNIQUE (registry, root, platform)
  ) STRICT;
  CREATE INDEX by_manifest ON snapshots (registry, manifest, platform);
  CREATE INDEX by_layout ON snapshots (layout);
`;
