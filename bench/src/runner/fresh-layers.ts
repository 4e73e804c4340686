import { randomBytes } from 'node:crypto';
import { appendFile, copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DebianLayer, type ImageLayer, layerOf, shellFiles, tarArchive } from '@drakkar/lab';
import { digestOfFile } from './file-digest.ts';

/** What a container of {@link smallImage} may run. */
export const SMALL_COMMAND = ['/bin/sh', '-c', 'echo ready'];

/** Layers with the same files under digests that nobody has seen. @param directory where they are made: over those of before */
export function freshLayers(layers: readonly DebianLayer[], directory: string): Promise<DebianLayer[]> {
  return Promise.all(layers.map((layer, index) => freshLayer(layer, join(directory, `layer-${index}`))));
}

/**
 * An empty member with a number of its own at the end, which unpacking leaves out.
 * Source: RFC 1952, sections 2.2 and 2.3.1.1.
 */
async function freshLayer(layer: DebianLayer, path: string): Promise<DebianLayer> {
  await copyFile(layer.path, path);
  const number = randomBytes(16);
  const head = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, number.length, 0]);
  const emptyAndSums = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  await appendFile(path, Buffer.concat([head, number, emptyAndSums]));
  const { digest, sizeBytes } = await digestOfFile(path);
  return { ...layer, path, digest, sizeBytes };
}

/** Layers of an image that nobody has seen, and that runs. */
export interface SmallImage {
  readonly layers: readonly ImageLayer[];
  /** What it has beside a shell: random bytes, by their names. */
  readonly files: ReadonlyMap<string, Buffer>;
}

/** The first file of an image that is not there as its layers have it; `undefined` where all are. @throws where one is missing */
export async function wrongFileIn(rootfs: string, files: SmallImage['files']): Promise<string | undefined> {
  for (const [name, data] of files) if (!data.equals(await readFile(join(rootfs, name)))) return name;
  return undefined;
}

/** A shell, and some layers of one file each. */
export function smallImage(count: number, layerBytes: number): SmallImage {
  const mark = randomBytes(16).toString('hex');
  const shell = layerOf(tarArchive([...shellFiles(), { name: 'mark', data: mark }]));
  const files = new Map(
    Array.from({ length: count }, (_, index) => [`data-${index}`, randomBytes(layerBytes)] as const),
  );
  const others = [...files].map(([name, data]) =>
    layerOf(tarArchive([{ name, data }]), { compression: 'none' }),
  );
  return { layers: [shell, ...others], files };
}
