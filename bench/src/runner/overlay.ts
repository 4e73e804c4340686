import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ImageLayer } from '@drakkar/lab';

const run = promisify(execFile);

/** A mounted root file system. */
export interface Rootfs extends AsyncDisposable {
  readonly path: string;
}

/**
 * Unpacks layers that delete nothing of those below, each into a directory of its own.
 *
 * @returns the directories, lowest first
 */
export async function unpackLayers(layers: readonly ImageLayer[], directory: string): Promise<string[]> {
  const unpacked: string[] = [];
  for (const { content } of layers) {
    const path = join(directory, `layer-${unpacked.length}`);
    await mkdir(path, { recursive: true });
    const into = ['-C', path, '--xattrs', '--numeric-owner'];
    if ('path' in content) await run('tar', [...into, '-xzf', content.path]);
    else await unpackBytes(into, content);
    unpacked.push(path);
  }
  return unpacked;
}

async function unpackBytes(into: readonly string[], tar: Uint8Array): Promise<void> {
  const child = spawn('tar', [...into, '-xf', '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
  const closed = once(child, 'close');
  child.stdin.end(tar);
  const [code] = await closed;
  if (code !== 0) throw new Error(`tar ended with ${code}`);
}

/** What a container gets where images are unpacked: an overlay of its own. Needs root. @param layers lowest first */
export async function mountOverlay(layers: readonly string[], directory: string): Promise<Rootfs> {
  const [upper, work, path] = [join(directory, 'upper'), join(directory, 'work'), join(directory, 'rootfs')];
  for (const each of [upper, work, path]) await mkdir(each, { recursive: true });
  const lower = layers.toReversed().join(':');
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  await run('mount', ['-t', 'overlay', '-o', options, 'drakkar-bench', path]);
  return { path, [Symbol.asyncDispose]: async () => void (await run('umount', [path])) };
}
