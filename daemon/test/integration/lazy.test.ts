import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Helper, type NativeHelper, nativeHelper, startHelper } from '@drakkar/daemon';
import { type TemporaryDirectory, temporaryDirectory } from '@drakkar/lab';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { killAll, killHolders, killSome } from '../kit/helper-processes.ts';
import { feed, type LazyVolume, lazyVolume, randomFiles } from '../kit/lazy-volume.ts';
import { byProgramOf, directly, mapped, type Reader, randomly, sequentially } from '../kit/readers.ts';

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);
const ROUNDS = 5;
/** As short as can be where readers shall be given up. */
const SHORT_DEADLINE_MS = 500;
/** What a holder adds to the deadline of a worker that is away, and the ticks of both. */
const HOLDER_GRACE_MS = 2_000 + 500;

const WAYS = [
  { backend: 'fanotify', backing: 'file' },
  { backend: 'fuse', backing: 'file' },
  { backend: 'fuse', backing: 'loop' },
] as const;

let directory: TemporaryDirectory;
let [root, content, blobs, socket] = ['', '', '', ''];
let ending: AbortController;

const start = (readDeadlineMs = 20_000) =>
  startHelper({ root, content, blobs, socket, uid: 0, readDeadlineMs, signal: AbortSignal.timeout(60_000) });

async function expectBytes(path: string, { files }: LazyVolume, ...readers: Reader[]): Promise<void> {
  const kinds = readers.length === 0 ? [sequentially] : readers;
  const reads = [...files].flatMap(([name, bytes]) =>
    kinds.map(async (reader) => {
      expect(await reader(join(path, name), bytes), `${name}, ${reader.name || 'by its own program'}`).toBe(
        true,
      );
    }),
  );
  await Promise.all(reads);
}

const dropCaches = () => execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
const mountsBelow = (path: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mount) => mount.startsWith(path));
/** Files behind loop devices. */
const loopsBelow = (path: string) =>
  readdirSync('/sys/block')
    .map((name) => `/sys/block/${name}/loop/backing_file`)
    .flatMap((file) => (existsSync(file) ? [readFileSync(file, 'utf8').trim()] : []))
    .filter((file) => file.startsWith(path));
const unmounted = (helper: NativeHelper, volume: string) =>
  expect.poll(() => helper.umountVolume(volume).then(() => 'unmounted')).toBe('unmounted');

/** The helper and its worker, but nothing that they leave behind. */
async function killHelper(helper: NativeHelper, started: Helper): Promise<void> {
  await helper.volumes();
  killAll([started.pid, helper.workerPid]);
  await started.ended;
}

beforeEach(async () => {
  directory = await temporaryDirectory('lazy');
  [root, content, blobs, socket] = ['root', 'content', 'blobs', 'native.sock'].map((name) =>
    join(directory.path, name),
  ) as [string, string, string, string];
  mkdirSync(content);
  ending = new AbortController();
});

afterEach(async () => {
  ending.abort();
  await killHolders(root);
  for (const path of mountsBelow(directory.path).reverse()) execFileSync('umount', ['-l', path]);
  await directory[Symbol.asyncDispose]();
});

describe.skipIf(!isRoot).each(WAYS)('lazy volumes by $backend on a $backing (need root)', (way) => {
  const { backend, backing } = way;

  test('readers get every byte, though nothing was here when they came', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs);
    const mounted = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    expect(mounted).toMatchObject({ backend, backing, filling: [{ presentBlocks: 0 }] });
    const feeding = feed(helper, [volume], ending.signal);
    await expectBytes(mounted.path, volume);
    const [status] = await helper.volumes();
    expect(status?.filling).toMatchObject([{ presentBlocks: volume.blocks.length }]);
    ending.abort();
    await feeding;
    dropCaches();
    await expectBytes(mounted.path, volume);
    await helper.umountVolume('v1');
    expect(mountsBelow(root)).toEqual([]);
    await expect.poll(() => loopsBelow(directory.path)).toEqual([]);
  });

  test('whoever reads in whatever way while blocks come in any order, all at once, gets every byte', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const program = readFileSync('/usr/bin/sha256sum');
    const files = randomFiles(6, 512 * 1024).set('sha256sum', program);
    const volume = lazyVolume(content, blobs, { files, blockBytes: 16 * 1024 });
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const feeding = feed(helper, [volume], ending.signal, () => delay(Math.random() * 20));
    const readers = [sequentially, randomly, mapped, byProgramOf(path, 'sha256sum')];
    await expectBytes(path, volume, ...readers, ...(backing === 'loop' ? [directly] : []));
    ending.abort();
    await feeding;
  });

  test('whichever of its processes are killed while readers wait, every byte is right', {
    timeout: 120_000,
  }, async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    for (let round = 0; round < ROUNDS; round += 1) {
      const volume = lazyVolume(content, blobs, { files: 4, fileBytes: 512 * 1024, blockBytes: 16 * 1024 });
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      const round_ = new AbortController();
      const feeding = feed(helper, [volume], round_.signal, () => delay(Math.random() * 20));
      let isRead = false;
      const reading = expectBytes(path, volume).finally(() => {
        isRead = true;
      });
      while (!isRead) {
        await delay(8 + Math.random() * 15);
        killSome(helper, root);
      }
      await reading;
      round_.abort();
      await feeding;
      await unmounted(helper, 'v1');
    }
  });

  test('a complete volume is left to the kernel while it is read, and new mounts need no help', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs);
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    await helper.fillDevice({ device: volume.device, blob: volume.blob, blocks: volume.blocks });
    const reading = expectBytes(path, volume, sequentially, mapped, randomly);
    const retired = await helper.retireVolume('v1');
    await reading;
    // Who is mounted on a file of ours goes on reading it.
    const isThroughFile = backend === 'fuse' && backing === 'file';
    expect(retired.backend).toBe(isThroughFile ? 'fuse' : null);
    expect(mountsBelow(join(root, 'fuse'))).toHaveLength(isThroughFile ? 1 : 0);
    dropCaches();
    await expectBytes(path, volume);
    expect((await helper.retireVolume('v1')).backend).toBe(retired.backend);
    await helper.umountVolume('v1');
    const whole = volume.mount.devices.map((device) => ({ ...device, complete: true }));
    const again = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way, devices: whole });
    expect(again).toMatchObject({ backend: null, filling: [] });
    expect(mountsBelow(join(root, 'fuse'))).toEqual([]);
    await expectBytes(again.path, volume);
    await helper.umountVolume('v1');
  });

  test('with the source away a read fails in time, and once it is back the same read works', async () => {
    await using _ = await start(SHORT_DEADLINE_MS);
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs, { files: 2 });
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const began = performance.now();
    await expect(run('cat', [join(path, 'file-0')])).rejects.toThrow('Input/output error');
    expect(performance.now() - began).toBeLessThan(4 * SHORT_DEADLINE_MS);
    const blocks = volume.blocks.map(({ block }) => block);
    const refusing = run('cat', [join(path, 'file-1')]);
    const refused = expect(refusing).rejects.toThrow('Input/output error');
    await helper.refuseBlocks(volume.device, blocks, 'nobody has it');
    await refused;
    void feed(helper, [volume], ending.signal);
    await expect
      .poll(() =>
        expectBytes(path, volume).then(
          () => 'read',
          () => 'failed',
        ),
      )
      .toBe('read');
    await helper.umountVolume('v1');
  });

  test('two volumes share a device, which is filled once and goes with the last of them', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs, { files: 4 });
    const other = lazyVolume(content, blobs, { files: volume.files });
    expect(other.device).toBe(volume.device);
    const first = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const second = await helper.mountVolume({ volume: 'v2', ...other.mount, ...way });
    void feed(helper, [volume], ending.signal);
    await expectBytes(first.path, volume);
    ending.abort();
    await helper.umountVolume('v1');
    dropCaches();
    await expectBytes(second.path, other);
    await helper.umountVolume('v2');
    expect(mountsBelow(root)).toEqual([]);
  });

  test('where nobody is left who fills it a read fails in time, and the next helper goes on', {
    timeout: 60_000,
  }, async () => {
    const first = await start(SHORT_DEADLINE_MS);
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs, { files: 2 });
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    await killHelper(helper, first);
    const began = performance.now();
    await expect(run('cat', [join(path, 'file-0')])).rejects.toThrow('Input/output error');
    expect(performance.now() - began).toBeLessThan(3 * (SHORT_DEADLINE_MS + HOLDER_GRACE_MS));
    await using _ = await start();
    void feed(helper, [volume], ending.signal);
    await expectBytes(path, volume);
    await unmounted(helper, 'v1');
  });

  test('when all its processes are dead volumes are detached at the next start, and mounted anew', async () => {
    const first = await start();
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs, { files: 2 });
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
    const waiting = spawn('cat', [join(path, 'file-0')], { stdio: 'ignore' });
    try {
      await helper.volumes();
      killAll([first.pid, helper.workerPid]);
      await killHolders(root);
      // By fanotify who reads now reads zeros: which is why a start detaches them before anything else.
      if (backend === 'fuse') await expect(run('cat', [join(path, 'file-1')])).rejects.toThrow();
      await using _ = await start();
      expect(await helper.volumes()).toMatchObject([{ mounted: false, backend: null }]);
      expect(mountsBelow(root)).toEqual([]);
      void feed(helper, [volume], ending.signal);
      const again = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      await expectBytes(again.path, volume);
      await unmounted(helper, 'v1');
    } finally {
      waiting.kill('SIGKILL');
    }
  });
});

describe.skipIf(!isRoot)('lazy volumes of several backends (need root)', () => {
  test('share a device, and each is left to the kernel as soon as it can be', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs, { files: 2 });
    const volumes = WAYS.map((way, index) => ({ way, id: `v${index}` }));
    for (const { way, id } of volumes) {
      const { mount } = lazyVolume(content, blobs, { files: volume.files });
      await helper.mountVolume({ volume: id, ...mount, ...way });
    }
    await helper.fillDevice({ device: volume.device, blob: volume.blob, blocks: volume.blocks });
    await helper.retireVolume('v0');
    const backends = (await helper.volumes()).map(({ backend }) => backend);
    expect(backends).toEqual([null, 'fuse', null]);
    dropCaches();
    for (const { path } of await helper.volumes()) await expectBytes(path, volume);
    await helper.umountVolume('v1');
    expect(mountsBelow(join(root, 'fuse'))).toEqual([]);
    dropCaches();
    for (const { path } of await helper.volumes()) await expectBytes(path, volume);
    for (const { id } of volumes) await helper.umountVolume(id);
  });

  test('are filled by the best that works here, unless they say otherwise', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const { backends } = await helper.probe();
    const first = lazyVolume(content, blobs, { files: 1 });
    const auto = await helper.mountVolume({ volume: 'v1', ...first.mount, backend: 'auto' });
    expect(auto.backend).toBe(backends[0]);
    const second = lazyVolume(content, blobs, { files: 1 });
    const looped = { ...second.mount, backend: 'auto', backing: 'loop' } as const;
    expect(await helper.mountVolume({ volume: 'v2', ...looped })).toMatchObject({
      backend: 'fuse',
      backing: 'loop',
    });
    const impossible = helper.mountVolume({ volume: 'v3', ...looped, backend: 'fanotify' });
    await expect(impossible).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(helper.mountVolume({ volume: 'v3', ...looped, backend: 'local' })).rejects.toMatchObject({
      code: 'not_found',
    });
    for (const volume of ['v1', 'v2']) await helper.umountVolume(volume);
  });
});
