import { execFileSync } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startFaultyProxy, startRegistry, temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { createContent, newReceipt } from '../../src/content/index.ts';
import { openStore } from '../../src/store/index.ts';
import { createRegistryClient } from '../../src/upstream/index.ts';
import { makeCertificate } from '../kit/certificate.ts';
import { cutBlob } from '../kit/cut-blob.ts';
import { HASTY, pushRandomImage, randomBlob } from '../kit/stack.ts';

const MEBIBYTE = 1024 * 1024;
/** Mounting needs root; with CI=true a skip would be a failure, so there it is tried. */
const withoutRoot = process.getuid?.() !== 0 && process.env.CI !== 'true';

/** A small disk of its own. */
async function smallDisk(sizeBytes: number) {
  await using parts = new AsyncDisposableStack();
  const { path } = parts.use(await temporaryDirectory('disk'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'drakkar-test', path]);
  parts.defer(() => void execFileSync('umount', [path]));
  const mounted = parts.move();
  return { path, [Symbol.asyncDispose]: () => mounted.disposeAsync() };
}

test.skipIf(withoutRoot)(
  'a full disk is an error to the one request, and never a corrupt store',
  async () => {
    await using disk = await smallDisk(16 * MEBIBYTE);
    await using registry = await startRegistry();
    using client = createRegistryClient(HASTY);
    const image = { registry: registry.host, repository: 'library/thing' };
    const [small, large] = [randomBlob(3 * MEBIBYTE), randomBlob(20 * MEBIBYTE)];
    await pushRandomImage(client, image, 'v1', [small, large]);
    const receipt = newReceipt();
    {
      await using store = await openStore({ directory: disk.path });
      await using content = createContent({}, { store, client });
      await content.fetch({ image, digest: small.digest }, receipt);
      await expect(content.fetch({ image, digest: large.digest }, receipt)).rejects.toMatchObject({
        code: 'no_space',
        hint: expect.any(String),
      });
      expect(store.has(small.digest)).toBe(true);
      expect(store.has(large.digest)).toBe(false);
      store.remove(large.digest);
      await content.fetch({ image, digest: small.digest }, receipt);
    }
    await using store = await openStore({ directory: disk.path });
    expect(store.usage().contentBytes).toBe(small.sizeBytes);
    expect(digestOf(await readFile(store.pathOf(small.digest)))).toBe(small.digest);
  },
);

test.skipIf(withoutRoot)(
  'a full disk fails the piece that does not fit, which comes when there is room',
  async () => {
    await using disk = await smallDisk(16 * MEBIBYTE);
    await using registry = await startRegistry();
    using client = createRegistryClient(HASTY);
    const image = { registry: registry.host, repository: 'library/thing' };
    const blob = cutBlob(Array.from({ length: 6 }, () => 2 * MEBIBYTE));
    const { digest, sizeBytes, bytes } = blob;
    await client.pushBlob(image, digest, sizeBytes, { bytes });
    const ballast = join(disk.path, 'ballast');
    await writeFile(ballast, Buffer.alloc(8 * MEBIBYTE));
    await using store = await openStore({ directory: join(disk.path, 'state') });
    await using content = createContent({}, { store, client });
    await using pieces = await content.openPieces({ image, digest, sizeBytes }, blob.named, newReceipt());
    const all = [0, 1, 2, 3, 4, 5];
    const want = (wanted: readonly number[]) =>
      pieces.want(wanted, { urgent: true, signal: AbortSignal.timeout(20_000) });
    await expect(want(all)).rejects.toMatchObject({ code: 'no_space', hint: expect.any(String) });
    const failed: number[] = [];
    for (const piece of all) {
      const error = await want([piece]).catch((error: unknown) => error);
      if (error === undefined) continue;
      expect(error).toMatchObject({ code: 'no_space' });
      failed.push(piece);
    }
    const missing = all.filter((piece) => !pieces.has(piece));
    expect(missing).toEqual(failed);
    expect(missing.length).toBeGreaterThan(0);
    expect(missing.length).toBeLessThan(all.length);
    await rm(ballast);
    await want(all);
    await pieces.complete({ signal: AbortSignal.timeout(20_000) });
    expect(digestOf(await readFile(store.pathOf(digest)))).toBe(digest);
  },
);

test.skipIf(withoutRoot)('a store on a full disk is closed, and opened again', async () => {
  await using disk = await smallDisk(8 * MEBIBYTE);
  const bytes = Buffer.from('something');
  const digest = digestOf(bytes);
  const first = await openStore({ directory: disk.path });
  await first.put(bytes, 'application/octet-stream');
  const ballast = join(disk.path, 'ballast');
  await writeFile(ballast, Buffer.alloc(8 * MEBIBYTE)).catch(() => {});
  await first.close();
  await rm(ballast);
  await using again = await openStore({ directory: disk.path });
  await again.verified;
  expect(again.has(digest)).toBe(true);
});

test.skipIf(withoutRoot)('a read-only state directory is refused with what to do', async () => {
  await using disk = await smallDisk(4 * MEBIBYTE);
  await (await openStore({ directory: disk.path })).close();
  execFileSync('mount', ['-o', 'remount,ro', disk.path]);
  await expect(openStore({ directory: disk.path })).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining(disk.path),
    hint: expect.stringContaining('writable'),
  });
});

test('a registry with its own authority is trusted when its file is named, and only then', async () => {
  await using registry = await startRegistry();
  await using certificate = await makeCertificate('127.0.0.2');
  // 127.0.0.1 is always spoken to without TLS.
  await using proxy = await startFaultyProxy(registry.url, { address: '127.0.0.2', tls: certificate });
  const image = { registry: proxy.host, repository: 'library/thing' };
  using plain = createRegistryClient(HASTY);
  const { manifestDigest } = await pushRandomImage(plain, { ...image, registry: registry.host }, 'v1', [
    randomBlob(10),
  ]);
  using trusting = createRegistryClient({ ...HASTY, caFiles: [certificate.certificateFile] });
  expect((await trusting.resolve(image, 'v1')).digest).toBe(manifestDigest);
  await expect(plain.resolve(image, 'v1')).rejects.toMatchObject({
    hint: expect.stringContaining('caFiles'),
  });

  proxy.fault = ({ path }) => ({ kind: 'status', status: 307, headers: { location: registry.url + path } });
  await expect(trusting.resolve(image, 'v1')).rejects.toMatchObject({ code: 'forbidden' });

  const plainly = `http://${proxy.host}`;
  proxy.fault = () => ({
    kind: 'status',
    status: 401,
    headers: { 'www-authenticate': `Bearer realm="${plainly}/token"` },
  });
  await expect(trusting.resolve(image, 'v1')).rejects.toMatchObject({ code: 'forbidden' });

  proxy.fault = ({ path, method }) =>
    method === 'POST'
      ? { kind: 'status', status: 202, headers: { location: `${plainly}${path}1` } }
      : undefined;
  const bytes = Buffer.from('pushed');
  await expect(trusting.pushBlob(image, digestOf(bytes), bytes.length, { bytes })).rejects.toMatchObject({
    code: 'forbidden',
  });
});
