import {
  debianImage,
  type ImageLayer,
  imageOf,
  layerOf,
  layerOfFile,
  pushImage,
  type Registry,
  tarArchive,
} from '@drakkar/lab';

/** An image in a registry of the benchmark's own. */
export interface BenchImage {
  readonly reference: string;
  readonly packages: readonly string[];
  /** Compressed bytes of its layers. */
  readonly sizeBytes: number;
  readonly layers: number;
}

const IMAGE_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Pushes a Debian image with some packages. It prints one word and ends.
 *
 * @param mark stands in a layer more, so that nobody knows anything of this very image
 */
export async function pushDebian(
  registry: Registry,
  packages: readonly string[],
  command: readonly string[],
  mark?: string,
): Promise<BenchImage> {
  const { layers } = await debianImage({ packages, onStep: (what) => process.stderr.write(`${what}\n`) });
  const marks = mark === undefined ? [] : [layerOf(tarArchive([{ name: 'mark', data: mark }]))];
  const repository = ['bench/', packages.join('-'), ...(mark === undefined ? [] : ['-', mark])].join('');
  const all = [...layers.map(layerOfFile), ...marks];
  return { ...(await pushLayers(registry, all, { repository, tag: 'latest', command })), packages };
}

/** Pushes an image of some layers. @param options `command`: what a container of it runs; none does, when absent */
export async function pushLayers(
  registry: Registry,
  layers: readonly ImageLayer[],
  options: { readonly repository: string; readonly tag: string; readonly command?: readonly string[] },
): Promise<Omit<BenchImage, 'packages'>> {
  const { repository, tag, command } = options;
  const config = command === undefined ? {} : { config: { config: { Cmd: command, Env: [IMAGE_PATH] } } };
  const image = imageOf({ layers, ...config });
  await pushImage(registry.url, image, { repository, tag });
  return {
    reference: `${registry.host}/${repository}:${tag}`,
    sizeBytes: layers.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    layers: layers.length,
  };
}
