import { debianImage, imageOf, layerOfFile, pushImage, type Registry } from '@drakkar/lab';

/** An image in a registry of the benchmark's own. */
export interface BenchImage {
  readonly reference: string;
  readonly packages: readonly string[];
  /** Compressed bytes of its layers. */
  readonly sizeBytes: number;
  readonly layers: number;
}

const IMAGE_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Pushes a Debian image with some packages. It prints one word and ends. */
export async function pushDebian(
  registry: Registry,
  packages: readonly string[],
  command: readonly string[],
): Promise<BenchImage> {
  const debian = await debianImage({ packages, onStep: (what) => process.stderr.write(`${what}\n`) });
  const image = imageOf({
    layers: debian.layers.map(layerOfFile),
    config: { config: { Cmd: command, Env: [IMAGE_PATH] } },
  });
  const repository = `bench/${packages.join('-')}`;
  await pushImage(registry.url, image, { repository, tag: 'latest' });
  return {
    reference: `${registry.host}/${repository}:latest`,
    packages,
    sizeBytes: debian.sizeBytes,
    layers: debian.layers.length,
  };
}
