import { execFile } from 'node:child_process';
import { mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DebianLayer, describeLayer, tarGzip } from './layer-file.ts';

/** A layer, some files of which are others than they were. */
export interface ChangedLayer {
  readonly layer: DebianLayer;
  /** Of the changed files, and of an archive that has nothing else. */
  readonly changedBytes: number;
  readonly changedGzipBytes: number;
}

const PAGE_BYTES = 4096;

/**
 * Changes every page of every file below a path, as if what lies there had been built anew: its programs will not run.
 *
 * @param under a directory in the layer, without a slash before it
 * @param directory where the new layer is made, and stays
 */
export async function changeLayer(
  layer: DebianLayer,
  under: string,
  directory: string,
): Promise<ChangedLayer> {
  const root = join(directory, 'root');
  await mkdir(root, { recursive: true });
  await promisify(execFile)('tar', ['-C', root, '--xattrs', '--numeric-owner', '-xzf', layer.path]);
  let changedBytes = 0;
  const entries = await readdir(join(root, under), { recursive: true, withFileTypes: true });
  for (const entry of entries)
    if (entry.isFile()) changedBytes += await changeFile(join(entry.parentPath, entry.name));
  const [path, changed] = [join(directory, 'layer.tar.gz'), join(directory, 'changed.tar.gz')];
  await tarGzip(root, ['.'], path);
  await tarGzip(root, [under], changed);
  const { sizeBytes: changedGzipBytes } = await describeLayer(changed);
  return { layer: await describeLayer(path), changedBytes, changedGzipBytes };
}

/** @returns its size */
async function changeFile(path: string): Promise<number> {
  await using file = await open(path, 'r+');
  const bytes = await file.readFile();
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) bytes[at] = 0xff ^ (bytes[at] ?? 0);
  await file.write(bytes, 0, bytes.length, 0);
  return bytes.length;
}
