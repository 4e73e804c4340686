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

/** An image whose container does nothing until it is ended: what a pod stands upon. Its one layer is nobody else's with a mark of its own. */
export function pauseImage(mark?: string): Image {
  const marks = mark === undefined ? [] : [{ name: 'mark', data: mark }];
  return imageOf({
    layers: [layerOf(tarArchive([...shellFiles(), sleepFile(), ...marks]))],
    config: { config: { Entrypoint: ['/bin/sleep', 'infinity'] } },
  });
}
