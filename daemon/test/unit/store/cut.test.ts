import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { temporaryDirectory } from '@drakkar/lab';
import { digestOf, hexOf } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { type ContentWriter, openStore, type Store } from '../../../src/store/index.ts';
import { type CutBlob, cutBlob } from '../../kit/cut-blob.ts';

const KIBIBYTE = 1024;
const ORIGIN = 'registry.example';
const LENGTHS = [100 * KIBIBYTE, 1, 70 * KIBIBYTE + 3, 5, 300 * KIBIBYTE];

const writerOf = (store: Store, { digest, sizeBytes, named }: CutBlob): Promise<ContentWriter> =>
  store.writer({ digest, sizeBytes, origin: ORIGIN, table: named });

async function write(writer: ContentWriter, blob: CutBlob, ...pieces: readonly number[]): Promise<void> {
  for (const piece of pieces) {
    const bytes = blob.piece(piece);
    expect(await writer.writePiece(piece, [bytes], hash('sha256', bytes, 'buffer'))).toBe(true);
  }
}

async function crash(store: Store, from: string, to: string): Promise<void> {
  execFileSync('cp', ['-a', '--sparse=always', from, to]);
  await store.close();
}

describe('a blob that is cut by a table', () => {
  test('is had piece by piece in a file that others can read, and stays there when it is complete', async () => {
    await using home = await temporaryDirectory('cut');
    await using store = await openStore({ directory: home.path });
    const blob = cutBlob(LENGTHS);
    const writer = await writerOf(store, blob);
    await write(writer, blob, 2, 0);
    expect(readFileSync(writer.path).subarray(0, LENGTHS[0]).equals(blob.piece(0))).toBe(true);
    await write(writer, blob, 4, 1, 3);
    await writer.finish();
    await writer.close();
    expect(store.pathOf(blob.digest)).toBe(writer.path);
    expect(digestOf(readFileSync(writer.path))).toBe(blob.digest);
    expect(store.stat(blob.digest)).toMatchObject({ complete: true, table: blob.named.digest });
    // Cut in the usual way it is one piece.
    const hashes = await store.pieceHashes(blob.digest);
    expect([...hashes].map(([piece, sha256]) => [piece, Buffer.from(sha256).toString('hex')])).toEqual([
      [0, hexOf(blob.digest)],
    ]);
  });

  test('takes no bytes but those that its table names', async () => {
    await using home = await temporaryDirectory('cut');
    await using store = await openStore({ directory: home.path });
    const blob = cutBlob(LENGTHS);
    await using stack = new AsyncDisposableStack();
    const writer = await writerOf(store, blob);
    stack.defer(() => writer.close());
    const lie = Buffer.alloc(LENGTHS[1] ?? 0, blob.piece(1)[0] === 7 ? 8 : 7);
    await expect(writer.writePiece(1, [lie], hash('sha256', lie, 'buffer'))).rejects.toMatchObject({
      code: 'internal',
    });
    expect(writer.has(1)).toBe(false);
    await write(writer, blob, 1);
  });

  test('is resumed by the same table, and begun anew cut in another way', async () => {
    await using home = await temporaryDirectory('cut');
    await using store = await openStore({ directory: home.path });
    const blob = cutBlob(LENGTHS);
    const first = await writerOf(store, blob);
    await write(first, blob, 0, 4);
    await first.close();
    expect(store.stat(blob.digest)?.presentBytes).toBe((LENGTHS[0] ?? 0) + (LENGTHS[4] ?? 0));
    const second = await writerOf(store, blob);
    expect(LENGTHS.map((_, piece) => second.has(piece))).toEqual([true, false, false, false, true]);
    await second.close();
    const { digest, sizeBytes } = blob;
    const other = await store.writer({ digest, sizeBytes, origin: ORIGIN });
    expect(other.has(0)).toBe(false);
    await other.close();
    const third = await writerOf(store, blob);
    expect(third.has(0)).toBe(false);
    await third.close();
  });

  test('keeps its good pieces over an unclean stop, whether it was complete or not', async () => {
    await using home = await temporaryDirectory('cut');
    const [before, after] = [join(home.path, 'before'), join(home.path, 'after')];
    const [partial, whole] = [cutBlob(LENGTHS), cutBlob(LENGTHS)];
    const store = await openStore({ directory: before });
    const writer = await writerOf(store, partial);
    await write(writer, partial, 0, 2, 4);
    await writer.flush();
    const finished = await writerOf(store, whole);
    await write(finished, whole, 0, 1, 2, 3, 4);
    await finished.finish();
    await finished.close();
    for (const { path } of [writer, finished]) {
      await using file = await open(path, 'r+');
      await file.write(Buffer.from('damaged'), 0, 7, (LENGTHS[0] ?? 0) + 1 + 50);
    }
    await crash(store, before, after);
    await using again = await openStore({ directory: after });
    await again.verified;
    const resumed = await writerOf(again, partial);
    expect(LENGTHS.map((_, piece) => resumed.has(piece))).toEqual([true, false, false, false, true]);
    await resumed.close();
    expect(again.stat(whole.digest)).toMatchObject({ complete: false, table: whole.named.digest });
    const repaired = await writerOf(again, whole);
    expect(LENGTHS.map((_, piece) => repaired.has(piece))).toEqual([true, true, false, true, true]);
    await write(repaired, whole, 2);
    await repaired.finish();
    await repaired.close();
    expect(digestOf(readFileSync(again.pathOf(whole.digest)))).toBe(whole.digest);
  });

  test('keeps its table from being evicted as long as it is there itself', async () => {
    await using home = await temporaryDirectory('cut');
    const blob = cutBlob(LENGTHS);
    const quotaBytes = blob.sizeBytes + blob.encoded.length + 1000;
    await using store = await openStore({ directory: home.path, quotaBytes });
    await store.put(blob.encoded, 'application/octet-stream', ORIGIN);
    const writer = await writerOf(store, blob);
    await write(writer, blob, 0);
    await writer.close();
    expect(await store.pieceTable(blob.named.digest)).toEqual(blob.named.table);
    {
      // The blob was used last, and goes all the same.
      using _room = store.reserve('something else', 2000);
      expect(store.stat(blob.digest)).toBeUndefined();
      expect(store.has(blob.named.digest)).toBe(true);
    }
    using _all = store.reserve('everything', quotaBytes);
    expect(store.has(blob.named.digest)).toBe(false);
  });

  test('is completed by who brings it as a whole, while it is open', async () => {
    await using home = await temporaryDirectory('cut');
    await using store = await openStore({ directory: home.path });
    const blob = cutBlob(LENGTHS);
    const writer = await writerOf(store, blob);
    await write(writer, blob, 1);
    const path = join(store.stagingDirectory, 'built');
    writeFileSync(path, blob.bytes);
    using reservation = store.reserve('a build', blob.sizeBytes);
    await store.adopt(path, blob.digest, blob.sizeBytes, 'blob', reservation, 'build');
    expect(store.stat(blob.digest)).toMatchObject({ complete: true, holders: ['build'] });
    expect(store.usage()).toMatchObject({ contentBytes: blob.sizeBytes, reservedBytes: 0 });
    expect(writer.presentPieces).toBe(LENGTHS.length);
    await writer.finish();
    await writer.close();
    expect(digestOf(readFileSync(store.pathOf(blob.digest)))).toBe(blob.digest);
  });

  test('is not asked for a table that is none', async () => {
    await using home = await temporaryDirectory('cut');
    await using store = await openStore({ directory: home.path });
    for (const sizeBytes of [0, 10, 52, 52 + 36]) {
      const digest = await store.put(Buffer.alloc(sizeBytes, 1), 'application/octet-stream');
      await expect(store.pieceTable(digest)).rejects.toMatchObject({ code: 'invalid_content' });
    }
  });
});

test('an index of the version before is brought to this one: what it knew of pieces is still known', async () => {
  await using home = await temporaryDirectory('migration');
  const MEBIBYTE = KIBIBYTE * KIBIBYTE;
  const bytes = Buffer.alloc(2 * MEBIBYTE + 5, 1);
  const digest = digestOf(bytes);
  const path = join(home.path, 'blobs', 'sha256', hexOf(digest).slice(0, 2), hexOf(digest));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  {
    using database = new DatabaseSync(join(home.path, 'index.sqlite'));
    database.exec(VERSION_2);
    database.prepare("INSERT INTO content VALUES (?, 'blob', ?, NULL, 0, 1, 1)").run(digest, bytes.length);
    database.prepare('INSERT INTO origin VALUES (?, ?)').run(digest, ORIGIN);
    const insert = database.prepare('INSERT INTO piece VALUES (?, ?, ?)');
    insert.run(digest, 0, hash('sha256', bytes.subarray(0, MEBIBYTE), 'buffer'));
    insert.run(digest, 1, hash('sha256', 'something else', 'buffer'));
    insert.run(digest, 2, hash('sha256', bytes.subarray(2 * MEBIBYTE), 'buffer'));
  }
  await using store = await openStore({ directory: home.path });
  await store.verified;
  expect(store.stat(digest)).toMatchObject({ presentBytes: MEBIBYTE + 5, origins: [ORIGIN], table: null });
  const writer = await store.writer({ digest, sizeBytes: bytes.length, origin: ORIGIN });
  expect([0, 1, 2].map((piece) => writer.has(piece))).toEqual([true, false, true]);
  await writer.close();
});

/** As the store wrote it then. */
const VERSION_2 = `
  CREATE TABLE content (
    digest TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('blob', 'volume')),
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    media_type TEXT,
    complete INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    last_use_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX content_by_use ON content (last_use_ms);
  CREATE TABLE piece (
    digest TEXT NOT NULL REFERENCES content ON DELETE CASCADE,
    piece INTEGER NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (digest, piece)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE pin (holder TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (holder, digest)) STRICT, WITHOUT ROWID;
  CREATE INDEX pin_by_digest ON pin (digest);
  CREATE TABLE tag (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    resolved_at_ms INTEGER NOT NULL,
    PRIMARY KEY (registry, repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tag_by_age ON tag (resolved_at_ms);
  CREATE TABLE mark (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE origin (
    digest TEXT NOT NULL REFERENCES content ON DELETE CASCADE,
    registry TEXT NOT NULL,
    PRIMARY KEY (digest, registry)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 2;
`;
