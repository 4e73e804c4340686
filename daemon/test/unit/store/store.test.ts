import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { openStore, type Store } from '../../../src/store/index.ts';

const MEBIBYTE = 1024 * 1024;
const ORIGIN = 'registry.example';

function item(sizeBytes: number, fill: number) {
  const bytes = Buffer.alloc(sizeBytes, fill);
  return { bytes, sizeBytes, digest: digestOf(bytes) };
}

async function fill(store: Store, { bytes, digest, sizeBytes }: ReturnType<typeof item>): Promise<void> {
  const writer = await store.writer({ digest, sizeBytes, origin: ORIGIN });
  await writer.write(0, [bytes]);
  await writer.finish();
  await writer.close();
}

async function flipByte(path: string, position: number): Promise<void> {
  await using file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  await file.write(Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, position);
}

/** Ends a store as a kill does: its files stay as they are, and the next one opens a copy of them. */
async function crash(store: Store, from: string, to: string): Promise<void> {
  execFileSync('cp', ['-a', '--sparse=always', from, to]);
  await store.close();
}

describe('the store', () => {
  test('takes pieces in any order, each once, whoever comes second with whatever bytes', async () => {
    await using home = await temporaryDirectory('pieces');
    await using store = await openStore({ directory: home.path, quotaBytes: 8 * MEBIBYTE });
    const { bytes, digest, sizeBytes } = item(3 * MEBIBYTE - 5, 9);
    const writer = await store.writer({ digest, sizeBytes, origin: ORIGIN });
    const lie = Buffer.alloc(MEBIBYTE, 1);
    const piece = (index: number) => bytes.subarray(index * MEBIBYTE, (index + 1) * MEBIBYTE);
    const sha256 = (content: Uint8Array) => hash('sha256', content, 'buffer');
    const write = (index: number, content: Uint8Array) =>
      writer.writePiece(index, [content], sha256(content));
    expect(await Promise.all([write(2, piece(2)), write(0, piece(0)), write(0, lie)])).toEqual([
      true,
      true,
      false,
    ]);
    expect(await write(0, lie)).toBe(false);
    await expect(write(1, lie.subarray(1))).rejects.toMatchObject({ code: 'internal' });
    expect(await write(1, piece(1))).toBe(true);
    await writer.finish();
    expect(await write(0, lie)).toBe(false);
    await writer.close();
    await using reader = await store.open(digest);
    const back = Buffer.alloc(sizeBytes);
    await reader.read(back, 0);
    expect(digestOf(back)).toBe(digest);
    const hashes = await store.pieceHashes(digest);
    expect([...hashes.keys()].sort()).toEqual([0, 1, 2]);
    expect(Buffer.from(hashes.get(0) ?? []).equals(sha256(piece(0)))).toBe(true);
  });

  test('knows the pieces of what came in as a whole, and says when something is gone', async () => {
    await using home = await temporaryDirectory('hashes');
    await using store = await openStore({ directory: home.path, quotaBytes: 2 * MEBIBYTE });
    const { bytes } = item(MEBIBYTE + 1, 4);
    const digest = await store.put(bytes, 'application/octet-stream', ORIGIN);
    const hashes = await store.pieceHashes(digest);
    expect(Buffer.from(hashes.get(1) ?? []).equals(hash('sha256', bytes.subarray(MEBIBYTE), 'buffer'))).toBe(
      true,
    );
    const gone: unknown[] = [];
    store.onRemoved((removed) => void gone.push(removed));
    store.remove(digest);
    expect(gone).toEqual([{ digest, origins: [ORIGIN], table: null }]);
  });

  test('the least recently used goes first; what is pinned, read or written stays', async () => {
    await using home = await temporaryDirectory('store');
    await using store = await openStore({ directory: home.path, quotaBytes: 4 * MEBIBYTE });
    const [a, b, c] = [item(MEBIBYTE, 1), item(MEBIBYTE, 2), item(MEBIBYTE, 3)];
    const [d, e] = [item(MEBIBYTE, 4), item(MEBIBYTE, 5)];
    for (const each of [a, b, c, d]) await fill(store, each);
    store.pin(a.digest, 'mount');
    store.touch(b.digest);
    await using _reader = await store.open(c.digest);
    await fill(store, e);
    expect([a, b, c, d, e].map(({ digest }) => store.has(digest))).toEqual([true, true, true, false, true]);
    expect(() => store.remove(a.digest)).toThrow(/kept by mount/);
    expect(() => store.reserve('too much', 3 * MEBIBYTE)).toThrow(/no room/);
    expect(store.usage()).toEqual({ quotaBytes: 4 * MEBIBYTE, contentBytes: 4 * MEBIBYTE, reservedBytes: 0 });
  });

  test('who reads and yields keeps nothing here, reads on, and is spared while others can go', async () => {
    await using home = await temporaryDirectory('yielding');
    await using store = await openStore({ directory: home.path, quotaBytes: 3 * MEBIBYTE });
    const [a, b, c, d] = [item(MEBIBYTE, 1), item(MEBIBYTE, 2), item(MEBIBYTE, 3), item(MEBIBYTE, 4)];
    for (const each of [a, b, c]) await fill(store, each);
    const gone: unknown[] = [];
    store.onRemoved(({ digest }) => void gone.push(digest));
    await using reader = await store.open(a.digest, { yields: true });
    await using _held = await store.open(c.digest);
    await fill(store, d);
    expect(gone).toEqual([b.digest]);
    using _room = store.reserve('more', 2 * MEBIBYTE);
    expect(gone).toEqual([b.digest, d.digest, a.digest]);
    const back = Buffer.alloc(MEBIBYTE);
    await reader.read(back, 0);
    expect(back.equals(a.bytes)).toBe(true);
    expect(() => store.reserve('too much', 1)).toThrow(/no room/);
  });

  test('a quota that has become smaller holds from the next start on, but for what is pinned', async () => {
    await using home = await temporaryDirectory('trim');
    const [a, b, c] = [item(MEBIBYTE, 1), item(MEBIBYTE, 2), item(MEBIBYTE, 3)];
    {
      await using store = await openStore({ directory: home.path, quotaBytes: 4 * MEBIBYTE });
      for (const each of [a, b, c]) await fill(store, each);
      store.pin(a.digest, 'mount');
    }
    {
      await using store = await openStore({ directory: home.path, quotaBytes: 2 * MEBIBYTE });
      expect([a, b, c].map(({ digest }) => store.has(digest))).toEqual([true, false, true]);
    }
    await using store = await openStore({ directory: home.path, quotaBytes: MEBIBYTE / 2 });
    expect(store.list().map(({ digest }) => digest)).toEqual([a.digest]);
  });

  test('many may bring the same file at the same time, also while it is being written: the quota counts it once', async () => {
    await using home = await temporaryDirectory('store');
    await using store = await openStore({ directory: home.path, quotaBytes: 16 * MEBIBYTE });
    const a = item(MEBIBYTE, 1);
    const bring = async (name: string) => {
      using reservation = store.reserve(name, a.sizeBytes);
      const path = join(store.stagingDirectory, name);
      await writeFile(path, a.bytes);
      await store.adopt(path, a.digest, a.sizeBytes, 'blob', reservation, name);
    };
    const writer = await store.writer({ ...a, origin: ORIGIN });
    await writer.write(0, [a.bytes]);
    const both = Promise.all([bring('one'), bring('two')]);
    await writer.finish();
    await writer.close();
    await both;
    expect(store.stat(a.digest)).toMatchObject({ complete: true, holders: ['one', 'two'] });
    store.unpin('one');
    store.unpin('two');
    store.remove(a.digest);
    await Promise.all([bring('three'), bring('four'), store.put(a.bytes, 'text/plain')]);
    expect(store.usage()).toMatchObject({ contentBytes: MEBIBYTE, reservedBytes: 0 });
    store.unpin('three');
    store.unpin('four');
    store.remove(a.digest);
    await bring('five');
    await expect(store.writer({ ...a, origin: ORIGIN })).rejects.toMatchObject({ code: 'already_exists' });
  });

  test('what one registry began, another does not go on with', async () => {
    await using home = await temporaryDirectory('store');
    await using store = await openStore({ directory: home.path });
    const a = item(3 * MEBIBYTE, 1);
    const begin = async (origin: string) => {
      const writer = await store.writer({ ...a, origin });
      const had = writer.has(0);
      await writer.write(0, [a.bytes.subarray(0, MEBIBYTE)]);
      await writer.close();
      return had;
    };
    expect(await begin('one.example')).toBe(false);
    expect(await begin('one.example')).toBe(true);
    expect(await begin('two.example')).toBe(false);
    expect(store.stat(a.digest)?.origins).toEqual(['two.example']);
    store.addOrigin(a.digest, 'three.example');
    expect(store.stat(a.digest)?.origins).toEqual(['three.example', 'two.example']);
    store.addOrigin(item(1, 1).digest, 'one.example');
    store.remove(a.digest);
    expect(await begin('one.example')).toBe(false);
    expect(store.stat(a.digest)?.origins).toEqual(['one.example']);
  });

  test('a blob with the bytes of a volume becomes one, while it is read', async () => {
    await using home = await temporaryDirectory('store');
    const a = item(MEBIBYTE, 1);
    {
      await using store = await openStore({ directory: home.path });
      await fill(store, a);
      expect(store.has(a.digest, 'volume')).toBe(false);
      await using reader = await store.open(a.digest);
      const path = join(store.stagingDirectory, 'volume');
      await writeFile(path, a.bytes);
      using reservation = store.reserve('volume', a.sizeBytes);
      await store.adopt(path, a.digest, a.sizeBytes, 'volume', reservation, 'build');
      expect(await reader.read(Buffer.alloc(10), 0)).toBe(10);
      expect(store.has(a.digest, 'volume')).toBe(true);
      expect(store.pathOf(a.digest)).toContain('/volumes/');
      expect(store.usage()).toMatchObject({ contentBytes: MEBIBYTE });
    }
    await using again = await openStore({ directory: home.path });
    expect(again.has(a.digest, 'volume')).toBe(true);
  });

  test('a second daemon is refused, and told why', async () => {
    await using home = await temporaryDirectory('store');
    await using _store = await openStore({ directory: home.path });
    await expect(openStore({ directory: home.path })).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringContaining(home.path),
      hint: expect.any(String),
    });
  });

  test('after an unclean stop bad bytes are found before they are used', async () => {
    await using home = await temporaryDirectory('store');
    const [first, second] = [join(home.path, 'first'), join(home.path, 'second')];
    const blob = item(2 * MEBIBYTE + 5, 1);
    const volume = item(MEBIBYTE, 2);
    const good = item(MEBIBYTE, 3);
    const store = await openStore({ directory: first });
    await fill(store, blob);
    await fill(store, good);
    await mkdir(store.stagingDirectory, { recursive: true });
    const path = join(store.stagingDirectory, 'volume');
    await writeFile(path, volume.bytes);
    using reservation = store.reserve('volume', volume.sizeBytes);
    await store.adopt(path, volume.digest, volume.sizeBytes, 'volume', reservation, 'build');
    await flipByte(store.pathOf(blob.digest), MEBIBYTE + 7);
    await flipByte(store.pathOf(volume.digest), 7);
    await crash(store, first, second);

    await using after = await openStore({ directory: second });
    expect(after.has(volume.digest)).toBe(false);
    await after.verified;
    expect(after.has(good.digest)).toBe(true);
    expect(after.has(blob.digest)).toBe(false);
    // The pieces that are good are kept.
    expect(after.stat(blob.digest)).toMatchObject({ complete: false, presentBytes: MEBIBYTE + 5 });
    expect(after.stat(volume.digest)).toBeUndefined();
    expect(after.usage().contentBytes).toBe(blob.sizeBytes + good.sizeBytes);
  });

  test('after a clean stop nothing is read again', async () => {
    await using home = await temporaryDirectory('store');
    const blob = item(1000, 1);
    {
      await using store = await openStore({ directory: home.path });
      await fill(store, blob);
      await flipByte(store.pathOf(blob.digest), 7);
    }
    await using again = await openStore({ directory: home.path });
    expect(again.has(blob.digest)).toBe(true);
  });

  test('staging, files without a row and rows without a file are gone after a start', async () => {
    await using home = await temporaryDirectory('store');
    const [kept, lost] = [item(1000, 1), item(1000, 2)];
    {
      await using store = await openStore({ directory: home.path });
      await fill(store, kept);
      await fill(store, lost);
      await writeFile(join(store.stagingDirectory, 'half'), 'half');
      await writeFile(join(home.path, 'volumes', 'f'.repeat(64)), 'nobody knows me');
      execFileSync('rm', [store.pathOf(lost.digest)]);
    }
    await using store = await openStore({ directory: home.path });
    expect(store.list().map(({ digest }) => digest)).toEqual([kept.digest]);
    expect(store.usage().contentBytes).toBe(1000);
    expect(
      execFileSync('find', [home.path, '-name', 'half', '-o', '-name', 'ffff*'], { encoding: 'utf8' }),
    ).toBe('');
  });

  test('the same small blob may be put by many at the same time', async () => {
    await using home = await temporaryDirectory('store');
    await using store = await openStore({ directory: home.path });
    const { bytes, digest } = item(1000, 1);
    const put = await Promise.all(Array.from({ length: 10 }, () => store.put(bytes, 'text/plain')));
    expect(new Set(put)).toEqual(new Set([digest]));
    expect(store.stat(digest)).toMatchObject({ complete: true, mediaType: 'text/plain' });
    expect(store.usage()).toMatchObject({ contentBytes: 1000, reservedBytes: 0 });
  });

  test('one writer at a time', async () => {
    await using home = await temporaryDirectory('store');
    await using store = await openStore({ directory: home.path });
    const blob = item(1000, 1);
    const writer = await store.writer({ ...blob, origin: ORIGIN });
    await expect(store.writer({ ...blob, origin: ORIGIN })).rejects.toMatchObject({ code: 'busy' });
    await writer.close();
    await fill(store, blob);
    await expect(store.writer({ ...blob, origin: ORIGIN })).rejects.toMatchObject({ code: 'already_exists' });
  });
});
