import { randomBytes } from 'node:crypto';
import { type Image, imageOf, layerOf, shellFiles, tarArchive } from '@drakkar/lab';
import type { Truth } from './readers.ts';

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
  const shell = tarArchive([...shellFiles(), { name: 'dev/', type: '5' }]);
  const layers = [shell, ...truths.map(({ name, bytes }) => tarArchive([{ name, data: bytes }]))];
  const image = imageOf({
    layers: layers.map((layer) => layerOf(layer, { compression: 'zstd' })),
    config: { config: { Cmd: ['/bin/sh', '-c', 'echo ready'] } },
  });
  return { image, truths };
}
