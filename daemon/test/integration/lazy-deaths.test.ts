import { execFile, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, symlinkSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { nativeHelper, nativeProgram } from '@drakkar/daemon';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { killAll, killHolders, killSome } from '../kit/helper-processes.ts';
import {
  expectBytes,
  expectBytesSoon,
  expectUnmounted,
  killHelper,
  type LazyHost,
  lazyHost,
  WAYS,
} from '../kit/lazy-host.ts';
import { feed, lazyVolume } from '../kit/lazy-volume.ts';

/** Until nothing fits any more. */
function fillDisk(directory: string, unitBytes: number): void {
  const descriptor = openSync(join(directory, `filled-${unitBytes}`), 'w');
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(unitBytes, 1));
  } catch {
    closeSync(descriptor);
  }
}

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);
const ROUNDS = 5;
/** As short as can be where readers shall be given up. */
const SHORT_DEADLINE_MS = 500;
/** What a holder adds to the deadline of a worker that is away, and the ticks of both. */
const HOLDER_GRACE_MS = 2_000 + 500;
let host: LazyHost;
let ending: AbortController;

beforeEach(async () => {
  host = await lazyHost();
  ending = new AbortController();
});

afterEach(async () => {
  ending.abort();
  await host[Symbol.asyncDispose]();
});

describe.skipIf(!isRoot).each(WAYS)(
  'what becomes of lazy volumes by $backend on a $backing (need root)',
  (way) => {
    const { backend } = way;

    test('whichever of its processes are killed while readers wait, every byte is right', {
      timeout: 120_000,
    }, async () => {
      await using _ = await host.start();
      await using helper = nativeHelper(host.socket);
      for (let round = 0; round < ROUNDS; round += 1) {
        const volume = lazyVolume(host.content, host.blobs, {
          files: 4,
          fileBytes: 512 * 1024,
          blockBytes: 16 * 1024,
        });
        const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
        const round_ = new AbortController();
        const feeding = feed(helper, [volume], round_.signal, () => delay(Math.random() * 20));
        let isRead = false;
        const reading = expectBytes(path, volume).finally(() => {
          isRead = true;
        });
        while (!isRead) {
          await delay(8 + Math.random() * 15);
          killSome(helper, host.root);
        }
        await reading;
        round_.abort();
        await feeding;
        await expectUnmounted(helper, 'v1');
      }
    });

    test('though nothing that they would say can be written', { timeout: 120_000 }, async () => {
      mkdirSync(host.root);
      symlinkSync('/dev/full', join(host.root, 'holder.log'));
      await using _ = await host.start();
      await using helper = nativeHelper(host.socket);
      const volume = lazyVolume(host.content, host.blobs, { files: 4, blockBytes: 16 * 1024 });
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      void feed(helper, [volume], ending.signal, () => delay(Math.random() * 20));
      let isRead = false;
      const reading = expectBytes(path, volume).finally(() => {
        isRead = true;
      });
      while (!isRead) {
        await delay(10);
        killSome(helper, host.root);
      }
      await reading;
      await expectUnmounted(helper, 'v1');
    });

    test('and who comes next comes up, though there is no room on the disk', async () => {
      const image = `${host.root}.image`;
      writeFileSync(image, '');
      truncateSync(image, 16 * 1024 * 1024);
      execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
      mkdirSync(host.root);
      execFileSync('mount', ['-o', 'loop', image, host.root]);
      try {
        const first = await host.start();
        await using helper = nativeHelper(host.socket);
        const volume = lazyVolume(host.content, host.blobs, { files: 2 });
        await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
        for (const bytes of [1024 * 1024, 4096, 1]) fillDisk(host.root, bytes);
        await killHelper(helper, first);
        await killHolders(host.root);
        await using _ = await host.start();
        expect(await helper.volumes()).toMatchObject([{ mounted: false }]);
        expect(host.mounts()).toEqual([host.root]);
      } finally {
        await killHolders(host.root);
        execFileSync('umount', ['--lazy', host.root]);
      }
    });

    test('an upgrade puts another worker in the place of this one, and who reads meanwhile waits', async () => {
      await using _ = await host.start();
      await using helper = nativeHelper(host.socket);
      const volume = lazyVolume(host.content, host.blobs);
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      const { pid, workerPid } = helper;
      const reading = expectBytes(path, volume);
      for (let upgrades = 0; upgrades < 3; upgrades += 1) {
        const before = helper.workerPid;
        await run(nativeProgram(), ['--upgrade', '--root', host.root]);
        await expect.poll(async () => (await helper.probe()) && helper.workerPid).not.toBe(before);
      }
      expect(helper.pid).toBe(pid);
      expect(helper.workerPid).not.toBe(workerPid);
      void feed(helper, [volume], ending.signal);
      await reading;
      expect(await helper.volumes()).toMatchObject([{ volume: 'v1', mounted: true, path }]);
    });

    test('with the source away a read fails in time, and once it is back the same read works', async () => {
      await using _ = await host.start(SHORT_DEADLINE_MS);
      await using helper = nativeHelper(host.socket);
      const volume = lazyVolume(host.content, host.blobs, { files: 2 });
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
      await expectBytesSoon(path, volume);
      await helper.umountVolume('v1');
    });

    test('where nobody is left who fills it a read fails in time, and the next helper goes on', {
      timeout: 60_000,
    }, async () => {
      const first = await host.start(SHORT_DEADLINE_MS);
      await using helper = nativeHelper(host.socket);
      const volume = lazyVolume(host.content, host.blobs, { files: 2 });
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      await killHelper(helper, first);
      const began = performance.now();
      await expect(run('cat', [join(path, 'file-0')])).rejects.toThrow('Input/output error');
      expect(performance.now() - began).toBeLessThan(3 * (SHORT_DEADLINE_MS + HOLDER_GRACE_MS));
      await using _ = await host.start();
      void feed(helper, [volume], ending.signal);
      await expectBytes(path, volume);
      await expectUnmounted(helper, 'v1');
    });

    test('where a worker stands still a read fails in time, and works when it goes on', async () => {
      await using _ = await host.start(SHORT_DEADLINE_MS);
      await using helper = nativeHelper(host.socket);
      const volume = lazyVolume(host.content, host.blobs, { files: 2 });
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      const worker = helper.workerPid as number;
      process.kill(worker, 'SIGSTOP');
      try {
        const began = performance.now();
        await expect(run('cat', [join(path, 'file-0')])).rejects.toThrow('Input/output error');
        expect(performance.now() - began).toBeLessThan(3 * (SHORT_DEADLINE_MS + HOLDER_GRACE_MS));
      } finally {
        process.kill(worker, 'SIGCONT');
      }
      void feed(helper, [volume], ending.signal);
      await expectBytesSoon(path, volume);
      await expectUnmounted(helper, 'v1');
    });

    test('when all its processes are dead volumes are detached at the next start, and mounted anew', async () => {
      const first = await host.start();
      await using helper = nativeHelper(host.socket);
      const volume = lazyVolume(host.content, host.blobs, { files: 2 });
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
      const waiting = spawn('cat', [join(path, 'file-0')], { stdio: 'ignore' });
      try {
        await helper.volumes();
        killAll([first.pid, helper.workerPid]);
        await killHolders(host.root);
        // By fanotify who reads now reads zeros: which is why a start detaches them before anything else.
        if (backend === 'fuse') await expect(run('cat', [join(path, 'file-1')])).rejects.toThrow();
        await using _ = await host.start();
        expect(await helper.volumes()).toMatchObject([{ mounted: false, backend: null }]);
        expect(host.mounts()).toEqual([]);
        void feed(helper, [volume], ending.signal);
        const again = await helper.mountVolume({ volume: 'v1', ...volume.mount, ...way });
        await expectBytes(again.path, volume);
        await expectUnmounted(helper, 'v1');
      } finally {
        waiting.kill('SIGKILL');
      }
    });
  },
);
