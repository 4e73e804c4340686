import { open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '@drakkar/errors';

/** As many links as the kernel follows (`MAXSYMLINKS`). */
const MAX_LINKS = 40;

/** More than any real passwd; a larger one is read up to here. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads a text file of a container's root file system. Links are resolved inside the root, whatever they say, so that an
 * image can't make us read the host's files. A file that is not there is empty.
 */
export async function readInRootfs(rootfs: string, path: string): Promise<string> {
  const resolved = await resolveInRootfs(rootfs, path);
  if (resolved === undefined) return '';
  try {
    await using file = await open(resolved, 'r');
    const stat = await file.stat();
    if (!stat.isFile()) return '';
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(stat.size, MAX_FILE_BYTES)));
    return buffer.subarray(0, bytesRead).toString('utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

/** The host's path of a container's path, or `undefined` where it has too many links. */
async function resolveInRootfs(rootfs: string, path: string): Promise<string | undefined> {
  const pending = path.split('/').reverse();
  const resolved: string[] = [];
  for (let links = 0; pending.length > 0; ) {
    const name = pending.pop() ?? '';
    if (name === '' || name === '.') continue;
    if (name === '..') {
      resolved.pop();
      continue;
    }
    const target = await linkTarget(join(rootfs, ...resolved, name));
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

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EINVAL' || code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
