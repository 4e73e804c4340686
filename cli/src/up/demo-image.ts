import { debianImage, imageOf, layerOfFile, pushImage, type Registry } from '@drakkar/lab';

/** What the demo shows: an image in a registry, and how `ctr` may be told to reach it. */
export interface DemoImage {
  readonly reference: string;
  readonly plainHttp: boolean;
  /** A command in it that reads all of its files and says how many. */
  readonly reader?: readonly string[];
}

const GREETING =
  'import platform; print("Python", platform.python_version(), "says hello from", platform.freedesktop_os_release()["PRETTY_NAME"])';

const READ_ALL = `
import os, stat
files = size = 0
for top, _, names in os.walk("/usr"):
    for path in (os.path.join(top, name) for name in names):
        if stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, "rb") as file:
                size += len(file.read())
            files += 1
print(f"{files} files, {size / 2**20:.0f} MiB", flush=True)
`;

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
  return {
    reference: `${registry.host}/demo/python:latest`,
    plainHttp: true,
    reader: ['python3', '-c', READ_ALL],
  };
}
