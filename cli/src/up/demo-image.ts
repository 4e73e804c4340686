import { debianImage, imageOf, layerOfFile, pushImage, type Registry } from '@drakkar/lab';

/** What the demo shows: an image in a registry, and how `ctr` may be told to reach it. */
export interface DemoImage {
  readonly reference: string;
  readonly plainHttp: boolean;
}

const GREETING =
  'import platform; print("Python", platform.python_version(), "says hello from", platform.freedesktop_os_release()["PRETTY_NAME"])';

/** Makes a Debian image with Python, or takes it from the cache, and pushes it to a registry of the demo's own. */
export async function pushDemoImage(registry: Registry, onStep: (what: string) => void): Promise<DemoImage> {
  const debian = await debianImage({ packages: ['python3'], onStep });
  const image = imageOf({
    layers: debian.layers.map(layerOfFile),
    config: {
      config: {
        Cmd: ['python3', '-c', GREETING],
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      },
    },
  });
  onStep('pushing it to a registry started here');
  await pushImage(registry.url, image, { repository: 'demo/python', tag: 'latest' });
  return { reference: `${registry.host}/demo/python:latest`, plainHttp: true };
}
