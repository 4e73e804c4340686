import {
  type Image,
  type ImageLayer,
  imageOf,
  layerOf,
  pushImage,
  type Registry,
  type TarItem,
  tarArchive,
} from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { shellImage } from './image.ts';
import type { Chance } from './random.ts';

/** Where an image was pushed, and what its own layers add to {@link SHELL}. */
export interface FreshImage {
  readonly reference: string;
  readonly repository: string;
  readonly layers: readonly ImageLayer[];
  /** Hex digests of the added files, by name. */
  readonly files: ReadonlyMap<string, string>;
}

/** What stands below every fresh image, so that its containers run. */
export const SHELL: Image = shellImage();

const LAYERS = 3;
const FILES_PER_LAYER = 4;
const LARGEST_FILE_BYTES = 1_500_000;

let pushes = 0;

/** Pushes an image that no host has seen, small or not so small. */
export async function pushFreshImage(registry: Registry, chance: Chance): Promise<FreshImage> {
  const files = new Map<string, string>();
  const layers = Array.from({ length: LAYERS }, (_, layer) => {
    const items: TarItem[] = Array.from({ length: FILES_PER_LAYER }, (_, index) => {
      const name = `fresh-${layer}-${index}`;
      const data = chance.bytes(Math.floor(chance.next() ** 3 * LARGEST_FILE_BYTES));
      files.set(name, digestOf(data).slice('sha256:'.length));
      return { name, data };
    });
    return layerOf(tarArchive(items), { compression: layer === 0 ? 'gzip' : 'zstd' });
  });
  const image = imageOf({
    layers: [...SHELL.layers, ...layers],
    config: { config: { Cmd: ['/bin/sh', '-c', 'echo ready'] } },
  });
  pushes += 1;
  const repository = `fresh/image-${pushes}`;
  await pushImage(registry.url, image, { repository, tag: 'latest' });
  return { repository, reference: `${registry.host}/${repository}:latest`, layers: image.layers, files };
}
