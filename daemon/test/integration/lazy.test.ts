import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type NativeHelper, nativeHelper, startHelper } from '@drakkar/daemon';
import { type TemporaryDirectory, temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { feed, type LazyVolume, lazyVolume } from '../kit/lazy-volume.ts';

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);
const ROUNDS = 5;

let directory: TemporaryDirectory;
let [root, content, blobs, socket] = ['', '', '', ''];
let ending: AbortController;

const start = (readDeadlineMs = 20_000) =>
  startHelper({ root, content, blobs, socket, uid: 0, readDeadlineMs, signal: AbortSignal.timeout(60_000) });

/** Reads files in processes of their own: one that waits for a block must not keep this one from bringing it. */
async function expectBytes(path: string, { files }: LazyVolume): Promise<void> {
  await Promise.all(
    [...files].map(async ([name, bytes]) => {
      const { stdout } = await run('sha256sum', [join(path, name)]);
      expect(`sha256:${stdout.slice(0, 64)}`, name).toBe(digestOf(bytes));
    }),
  );
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
  for (const pid of holdersOf(root)) process.kill(pid, 'SIGKILL');
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  for (const line of mounts.reverse()) {
    const path = line.split(' ')[4] ?? '';
    if (path.startsWith(directory.path)) execFileSync('umount', ['-l', path]);
  }
  await directory[Symbol.asyncDispose]();
});

const ways: { backend: 'fanotify' | 'fuse'; backing: 'file' | 'loop' }[] = [
  { backend: 'fanotify', backing: 'file' },
  { backend: 'fuse', backing: 'file' },
  { backend: 'fuse', backing: 'loop' },
];

describe.skipIf(!isRoot).each(ways)('lazy volumes by $backend on a $backing (need root)', ({ backend, backing }) => {
  test('readers get every byte, though nothing was here when they came', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const volume = lazyVolume(content, blobs);
    const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, backend, backing });
    const feeding = feed(helper, [volume], ending.signal);
    await expectBytes(path, volume);
    const [status] = await helper.volumes();
    expect(status?.filling).toMatchObject([{ presentBlocks: volume.blocks.length }]);
    expect(await helper.retireVolume('v1')).toMatchObject({ filling: [] });
    ending.abort();
    await feeding;
    execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    await expectBytes(path, volume);
    await helper.umountVolume('v1');
  });

  test('whichever of its processes are killed while readers wait, every byte is right', {
    timeout: 120_000,
  }, async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    for (let round = 0; round < ROUNDS; round += 1) {
      const volume = lazyVolume(content, blobs, { files: 4, fileBytes: 512 * 1024, blockBytes: 16 * 1024 });
      const { path } = await helper.mountVolume({ volume: 'v1', ...volume.mount, backend, backing });
      const round_ = new AbortController();
      const feeding = feed(helper, [volume], round_.signal, () => delay(Math.random() * 20));
      let isRead = false;
      const reading = expectBytes(path, volume).finally(() => {
        isRead = true;
      });
      while (!isRead) {
        await delay(8 + Math.random() * 15);
        killSome(helper);
      }
      await reading;
      round_.abort();
      await feeding;
      await expect.poll(() => helper.umountVolume('v1').then(() => 'unmounted')).toBe('unmounted');
    }
  });
});

/** SIGKILL for the worker, the holder or its twin, or for the worker and one of the two. */
function killSome(helper: NativeHelper): void {
  const [holder] = shuffled(holdersOf(root));
  const [one, other] = shuffled([helper.workerPid, holder]);
  for (const pid of Math.random() < 0.5 ? [one] : [one, other]) {
    try {
      if (pid) process.kill(pid, 'SIGKILL');
    } catch {
      // It has died already.
    }
  }
}

function holdersOf(root: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const words = /^\d+$/.test(name) ? readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0') : [];
      return words[1] === 'hold' && words[2]?.startsWith(root) === true ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

const shuffled = <Item>(items: readonly Item[]): Item[] =>
  items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
