import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  dropCaches,
  type FaultyProxy,
  type Registry,
  startFaultyProxy,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, type HostOptions, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);
const MEBIBYTE = 1024 * 1024;
const DEADLINE_MS = 3_000;

/** sha256 of a file as a process of its own reads it; its words where it can't. */
const read = (path: string): Promise<string> =>
  run('sha256sum', [path]).then(
    ({ stdout }) => `sha256:${stdout.slice(0, 64)}`,
    ({ stderr }) => String(stderr).trim(),
  );

/** What has just failed fails again for a moment, so that nobody waits for the kernel's own second tries. */
const expectSoon = (path: string, data: Buffer): Promise<void> =>
  expect.poll(() => read(path), { timeout: 5_000 }).toBe(digestOf(data));

/** A file system of its own. */
async function smallDisk(sizeBytes: number): Promise<AsyncDisposable & { readonly path: string }> {
  const directory = await temporaryDirectory('disk');
  const [image, path] = [join(directory.path, 'image'), join(directory.path, 'mounted')];
  mkdirSync(path);
  writeFileSync(image, '');
  truncateSync(image, sizeBytes);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, path]);
  return {
    path,
    async [Symbol.asyncDispose]() {
      execFileSync('umount', [path]);
      await directory[Symbol.asyncDispose]();
    },
  };
}

describe.skipIf(!isRoot)('a host that has nothing of an image (needs root)', () => {
  let registry: Registry;
  let proxy: FaultyProxy;
  let builder: Host;
  let builderKey: string;

  beforeAll(async () => {
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.url);
    builder = await startHost();
    builderKey = (await builder.client.status()).builderPublicKey;
  });

  afterAll(async () => {
    await builder?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  /** A snapshot of some random files, which only the registry has. */
  async function snapshotOf(name: string, files: Record<string, Buffer>): Promise<string> {
    const items = Object.entries(files).map(([path, data]) => ({ name: path, data }));
    const image = await push(registry, shellImage({}, items), name);
    expect(await builder.drakkar('snapshot', 'build', '--push', image)).toMatchObject({ code: 0 });
    return image.replace(registry.host, proxy.host);
  }

  const lazyHost = (config: { volumes?: object } = {}, options: HostOptions = {}): Promise<Host> =>
    startHost(
      {
        log: { level: 'info' },
        snapshots: { trustedBuilders: [builderKey] },
        volumes: { background: 'off', ...config.volumes },
        native: { backend: 'fanotify', readDeadlineMs: DEADLINE_MS },
      },
      options,
    );

  /** Starts a container, so that the snapshot is known and mounted. @returns where its volume is mounted */
  async function started(host: Host, image: string): Promise<string> {
    expect(await host.drakkar('run', image)).toMatchObject({ code: 0, stdout: 'ready\n' });
    const [snapshot] = await host.client.snapshots();
    return snapshot?.path ?? '';
  }

  test('starts a container when the little that it touches has come, and completes later', async () => {
    const data = randomBytes(16 * MEBIBYTE);
    const image = await snapshotOf('complete', { 'data/big': data });
    await using host = await lazyHost({ volumes: { background: 'on', backgroundDelayMs: 0 } });
    const path = await started(host, image);
    await expect
      .poll(async () => (await host.client.snapshots())[0]?.offlineReady, { timeout: 30_000 })
      .toBe(true);
    proxy.interrupt();
    try {
      dropCaches();
      expect(await read(join(path, 'data/big'))).toBe(digestOf(data));
      expect(await host.drakkar('run', image)).toMatchObject({ code: 0 });
    } finally {
      proxy.resume();
    }
    expect((await host.drakkar('snapshot', 'ls')).stdout).toContain('offline-ready');
  });

  test('needs nobody once readers have brought all of it, though nothing comes by itself', async () => {
    const image = await snapshotOf('whole', { 'data/all': randomBytes(4 * MEBIBYTE) });
    await using host = await lazyHost();
    const path = await started(host, image);
    await run('sh', ['-c', 'find "$0" -xdev -type f -exec cat {} + > /dev/null', path]);
    await expect
      .poll(async () => (await host.client.snapshots())[0]?.offlineReady, { timeout: 30_000 })
      .toBe(true);
  });

  test('moves only what is read', async () => {
    const image = await snapshotOf('little', { 'data/big': randomBytes(16 * MEBIBYTE) });
    await using host = await lazyHost();
    const before = proxy.bytes('/blobs/');
    await started(host, image);
    expect(proxy.bytes('/blobs/') - before).toBeLessThan(6 * MEBIBYTE);
    const [snapshot] = await host.client.snapshots();
    expect(snapshot).toMatchObject({ offlineReady: false });
    expect(snapshot?.residency).toBeLessThan(0.5);
  });

  test('gets an error while there is no source, which says why, and the bytes when there is one again', async () => {
    const data = randomBytes(4 * MEBIBYTE);
    const image = await snapshotOf('away', { 'data/big': data });
    await using host = await lazyHost();
    const file = join(await started(host, image), 'data/big');
    proxy.interrupt();
    try {
      const startedMs = performance.now();
      expect(await read(file)).toContain('Input/output error');
      expect(performance.now() - startedMs).toBeLessThan(4 * DEADLINE_MS);
    } finally {
      proxy.resume();
    }
    expect(host.words).toMatch(/blocks that readers wait for cannot be had/);
    await expectSoon(file, data);
  });

  test('is never given what is damaged at its source', async () => {
    const data = randomBytes(4 * MEBIBYTE);
    const image = await snapshotOf('damaged', { 'data/big': data });
    await using host = await lazyHost();
    const file = join(await started(host, image), 'data/big');
    proxy.fault = ({ path, headers }) =>
      path.includes('/blobs/') && headers.range !== undefined
        ? { kind: 'body', bytes: randomBytes(8 * MEBIBYTE) }
        : undefined;
    try {
      expect(await read(file)).toContain('Input/output error');
    } finally {
      proxy.fault = () => undefined;
    }
    await expectSoon(file, data);
  });

  test('gets an error while its disk is full, and the bytes when there is room again', async () => {
    const data = randomBytes(16 * MEBIBYTE);
    const image = await snapshotOf('full', { 'data/big': data });
    await using disk = await smallDisk(96 * MEBIBYTE);
    await using host = await lazyHost({}, { parent: disk.path });
    const file = join(await started(host, image), 'data/big');
    const ballast = join(disk.path, 'ballast');
    const { bavail, bsize } = statfsSync(disk.path);
    execFileSync('fallocate', ['--length', `${bavail * bsize - 3 * MEBIBYTE}`, ballast]);
    expect(await read(file)).toContain('Input/output error');
    rmSync(ballast);
    await expectSoon(file, data);
  });

  test('keeps what it has over a reboot, and goes on from there', async () => {
    const [one, two] = [randomBytes(4 * MEBIBYTE), randomBytes(4 * MEBIBYTE)];
    const image = await snapshotOf('reboot', { 'data/one': one, 'data/two': two });
    await using host = await lazyHost();
    const path = await started(host, image);
    expect(await read(join(path, 'data/one'))).toBe(digestOf(one));
    await host.reboot();
    const before = proxy.bytes('/blobs/');
    const again = await started(host, image);
    expect(await read(join(again, 'data/one'))).toBe(digestOf(one));
    expect(proxy.bytes('/blobs/') - before).toBeLessThan(MEBIBYTE);
    expect(await read(join(again, 'data/two'))).toBe(digestOf(two));
  });

  test('never reads zeros of a volume that nobody fills any more: it is detached', async () => {
    const image = await snapshotOf('orphan', { 'data/big': randomBytes(4 * MEBIBYTE) });
    await using host = await lazyHost();
    const path = await started(host, image);
    await host.killAll();
    await host.start();
    expect(existsSync(join(path, 'data/big'))).toBe(false);
    expect(host.words).toMatch(/detached/);
    await started(host, image);
    expect(existsSync(join(path, 'data/big'))).toBe(true);
  });

  test('is not robbed of what is mounted; what is not mounted may go, and comes back', async () => {
    const data = randomBytes(4 * MEBIBYTE);
    const image = await snapshotOf('removal', { 'data/big': data });
    await using host = await lazyHost();
    const path = await started(host, image);
    expect(await host.drakkar('snapshot', 'rm', image)).toMatchObject({ code: 8 });
    expect(await read(join(path, 'data/big'))).toBe(digestOf(data));
    expect(await host.drakkar('snapshot', 'umount', image)).toMatchObject({ code: 0 });
    expect(await host.drakkar('snapshot', 'rm', image)).toMatchObject({ code: 0 });
    expect(readdirSync(join(host.state, 'volumes'))).toEqual([]);
    expect(await read(join(await started(host, image), 'data/big'))).toBe(digestOf(data));
  });
});
