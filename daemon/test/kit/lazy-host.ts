import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Helper, type NativeHelper, startHelper } from '@drakkar/daemon';
import { loopFilesBelow, mountsBelow, temporaryDirectory } from '@drakkar/lab';
import { expect } from 'vitest';
import { killAll, killHolders } from './helper-processes.ts';
import type { LazyVolume } from './lazy-volume.ts';
import { type Reader, sequentially } from './readers.ts';

const PAGE = 4096;
const MAX_LOG_CHARACTERS = 4096;

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
  /** Below its root, or a folder of it; the latest first. */
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
    loops: () => loopFilesBelow(directory.path),
    async [Symbol.asyncDispose]() {
      await killHolders(root);
      for (const path of mounts()) execFileSync('umount', ['-l', path]);
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
      const isRight = await reader(join(path, name), bytes);
      expect(isRight ? '' : await wrongParts(join(path, name), bytes), what).toBe('');
    }),
  );
  await Promise.all(reads);
}

/** What is wrong with a file of a volume, and what those who hold it have said last. */
async function wrongParts(path: string, bytes: Buffer): Promise<string> {
  const found = await readFile(path);
  const parts = Array.from({ length: Math.ceil(bytes.length / PAGE) }, (_, page) => {
    const [is, should] = [found, bytes].map((all) => all.subarray(page * PAGE, (page + 1) * PAGE));
    if (is === undefined || should === undefined || is.equals(should)) return [];
    return [`${page} ${is.every((byte) => byte === 0) ? 'zeros' : 'others'}`];
  });
  const log = await readFile(join(path, '../../../holder.log'), 'utf8').catch(() => '');
  return `${found.length} of ${bytes.length} bytes; when read again, pages ${parts.flat().join(', ')}\n${log.slice(-MAX_LOG_CHARACTERS)}`;
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
