import {
  debianImage,
  type ImageLayer,
  imageOf,
  layerOf,
  layerOfFile,
  noise,
  pushImage,
  type Registry,
  tarArchive,
} from '@drakkar/lab';

/** An image that has most of its layers in common with others. */
export interface RelatedImage {
  readonly reference: string;
  readonly layers: readonly ImageLayer[];
}

export const SHARED_PACKAGES = ['python3'];

/** In the layer that an image has for itself. */
export const OWN_FILE = 'own/name';

const OWN_BYTES = 8 * 1024 ** 2;

/** Pushes images of the layers of Debian with Python, with a layer of 8 MiB each for itself. */
export async function pushRelated(registry: Registry, count: number): Promise<RelatedImage[]> {
  const { layers } = await debianImage({ packages: SHARED_PACKAGES });
  const images: RelatedImage[] = [];
  for (let index = 0; index < count; index += 1) {
    const own = tarArchive([
      { name: OWN_FILE, data: `image ${index}\n` },
      { name: 'own/data', data: noise(OWN_BYTES, `burst ${index}`) },
    ]);
    const all = [...layers.map(layerOfFile), layerOf(own, { compression: 'none' })];
    const repository = `bench/related-${index}`;
    await pushImage(registry.url, imageOf({ layers: all }), { repository, tag: 'latest' });
    images.push({ reference: `${registry.host}/${repository}:latest`, layers: all });
  }
  return images;
}
