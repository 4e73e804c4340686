import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Helper, type NativeHelper, startHelper } from '@drakkar/daemon';
import { temporaryDirectory } from '@drakkar/lab';
import { expect } from 'vitest';
import { killAll, killHolders } from './helper-processes.ts';
import type { LazyVolume } from './lazy-volume.ts';
import { type Reader, sequentially } from './readers.ts';

/** All ways in which a volume is filled while it is mounted. */
export const WAYS = [
  { backend: 'fanotify', backing: 'file' },
  { backend: 'fuse', backing: 'file' },
  { backend: 'fuse', backing: 'loop' },
] as const;

/** Where a helper works, and what must not be left there. Disposing it ends whoever holds something, and unmounts everything. */
export interface LazyHost extends AsyncDisposable {
  readonly root: string;
  readonly content: string;
  readonly blobs: string;
  readonly socket: string;
  start(readDeadlineMs?: number): Promise<Helper>;
  /** Below its root, or a folder of it. */
  mounts(folder?: string): string[];
  /** Files behind loop devices. */
  loops(): string[];
}

export async function lazyHost(): Promise<LazyHost> {
  const directory = await temporaryDirectory('lazy');
  const [root, content, blobs, socket] = ['root', 'content', 'blobs', 'native.sock'].map((name) =>
    join(directory.path, name),
  ) as [string, string, string, string];
  mkdirSync(content);
  const mounts = (folder = '') => mountsBelow(join(root, folder));
  return {
    root,
    content,
    blobs,
    socket,
    start: (readDeadlineMs = 20_000) =>
      startHelper({
        root,
        content,
        blobs,
        socket,
        uid: 0,
        readDeadlineMs,
        signal: AbortSignal.timeout(60_000),
      }),
    mounts,
    loops: () => loopsBelow(directory.path),
    async [Symbol.asyncDispose]() {
      await killHolders(root);
      for (const path of mounts().reverse()) execFileSync('umount', ['-l', path]);
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Of all files of a volume, read at once in each of these ways, from start to end unless said otherwise. */
export async function expectBytes(path: string, { files }: LazyVolume, ...readers: Reader[]): Promise<void> {
  const kinds = readers.length === 0 ? [sequentially] : readers;
  const reads = [...files].flatMap(([name, bytes]) =>
    kinds.map(async (reader) => {
      const what = `${name}, ${reader.name || 'by its own program'}`;
      expect(await reader(join(path, name), bytes), what).toBe(true);
    }),
  );
  await Promise.all(reads);
}

/** The same, though reads may fail at first. */
export const expectBytesSoon = (path: string, volume: LazyVolume) =>
  expect
    .poll(() =>
      expectBytes(path, volume).then(
        () => 'read',
        (error: Error) => error.message,
      ),
    )
    .toBe('read');

/** Once nobody uses it any more. */
export const expectUnmounted = (helper: NativeHelper, volume: string) =>
  expect.poll(() => helper.umountVolume(volume).then(() => 'unmounted')).toBe('unmounted');

/** The helper and its worker, but nothing that they leave behind. */
export async function killHelper(helper: NativeHelper, started: Helper): Promise<void> {
  await helper.volumes();
  killAll([started.pid, helper.workerPid]);
  await started.ended;
}

export const dropCaches = () => execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);

const mountsBelow = (path: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mount) => mount.startsWith(path));

const loopsBelow = (path: string) =>
  readdirSync('/sys/block')
    .map((name) => `/sys/block/${name}/loop/backing_file`)
    .flatMap((file) => (existsSync(file) ? [readFileSync(file, 'utf8').trim()] : []))
    .filter((file) => file.startsWith(path));
