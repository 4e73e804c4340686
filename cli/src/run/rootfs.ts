import { constants, lstatSync, readlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '@drakkar/errors';

/** As many links as the kernel follows (`MAXSYMLINKS`). */
const MAX_LINKS = 40;

/** More than any real passwd; a larger one is read up to here. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads a text file of a container's root file system. Links are resolved inside the root, whatever they say, so that an
 * image can't make us read the host's files. A file that is not there is empty. Finding it blocks: that is metadata, which is here, and a dozen trips
 * to the thread pool take 4 ms. Reading does not: its bytes may be on their way, and it may be this process that brings them.
 */
export async function readInRootfs(rootfs: string, path: string): Promise<string> {
  const resolved = resolveInRootfs(rootfs, path);
  // Opening a device is an act of its own: it may arm a watchdog or rewind a tape. Nobody else writes here yet.
  const stat = resolved === undefined ? undefined : lstatSync(resolved, { throwIfNoEntry: false });
  if (resolved === undefined || stat?.isFile() !== true) return '';
  await using file = await open(resolved, constants.O_RDONLY | constants.O_NOFOLLOW);
  const buffer = Buffer.alloc(Math.min(stat.size, MAX_FILE_BYTES));
  return buffer.toString('utf8', 0, (await file.read(buffer)).bytesRead);
}

/** The host's path of a container's path, or `undefined` where it has too many links. */
function resolveInRootfs(rootfs: string, path: string): string | undefined {
  const pending = path.split('/').reverse();
  const resolved: string[] = [];
  for (let links = 0; pending.length > 0; ) {
    const name = pending.pop() ?? '';
    if (name === '' || name === '.') continue;
    if (name === '..') {
      resolved.pop();
      continue;
    }
    const target = linkTarget(join(rootfs, ...resolved, name));
    if (target === undefined) {
      resolved.push(name);
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) return undefined;
    if (target.startsWith('/')) resolved.length = 0;
    pending.push(...target.split('/').reverse());
  }
  return join(rootfs, ...resolved);
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EINVAL' || code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
