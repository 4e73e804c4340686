import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Image, imageOf, layerOf, type TarItem, tarArchive } from '@drakkar/lab';
import type { Truth } from './readers.ts';

/** This machine's own shell and what it needs, so that something in the image can be run. */
function shellFiles(): TarItem[] {
  const libraries = execFileSync('ldd', ['/bin/dash'], { encoding: 'utf8' });
  const files = ['/bin/dash', ...[...libraries.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '')];
  return files.map((path) => ({ name: path.slice(1), mode: 0o755, data: readFileSync(path) }));
}

/** An image with a shell, and files of which half is random and half compresses well, each in a layer of its own. */
export function chaosImage(
  files: number,
  fileBytes: number,
): { readonly image: Image; readonly truths: Truth[] } {
  const truths = Array.from({ length: files }, (_, index) => ({
    name: `data/file-${index}`,
    bytes: Buffer.concat([
      randomBytes(fileBytes / 2),
      Buffer.alloc(fileBytes / 2, `${randomBytes(8).toString('hex')} `),
    ]),
  }));
  const shell = tarArchive([
    ...shellFiles(),
    { name: 'bin/sh', type: '2', linkName: 'dash' },
    { name: 'dev/', type: '5' },
  ]);
  const layers = [shell, ...truths.map(({ name, bytes }) => tarArchive([{ name, data: bytes }]))];
  const image = imageOf({
    layers: layers.map((layer) => layerOf(layer, { compression: 'zstd' })),
    config: { config: { Cmd: ['/bin/sh', '-c', 'echo ready'] } },
  });
  return { image, truths };
}
