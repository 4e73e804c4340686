import { readFileSync } from 'node:fs';
import { type Image, imageOf, layerOf } from './image.ts';
import { shellFiles } from './shell.ts';
import { type TarItem, tarArchive } from './tar.ts';

/** This machine's own `sleep`, for an image that has a shell. */
export const sleepFile = (): TarItem => ({
  name: 'bin/sleep',
  mode: 0o755,
  data: readFileSync('/usr/bin/sleep'),
});

/** An image whose container does nothing until it is ended: what a pod stands upon. */
export function pauseImage(): Image {
  return imageOf({
    layers: [layerOf(tarArchive([...shellFiles(), sleepFile()]))],
    config: { config: { Entrypoint: ['/bin/sleep', 'infinity'] } },
  });
}
