import {
  type Image,
  imageOf,
  layerOf,
  pushImage,
  type Registry,
  shellFiles,
  type TarItem,
  tarArchive,
} from '@drakkar/lab';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\napp:x:1234:1235::/home/app:/bin/sh\n';

/** An image with a shell, in two layers; `extra` goes on top. */
export function shellImage(config: object = {}, extra: readonly TarItem[] = []): Image {
  return imageOf({
    layers: [
      layerOf(tarArchive(shellFiles())),
      layerOf(
        tarArchive([
          { name: 'etc/passwd', data: PASSWD },
          { name: 'etc/group', data: 'root:x:0:\napp:x:1235:\n' },
          { name: 'tmp/', type: '5', mode: 0o1777 },
          { name: 'home/app/', type: '5', uid: 1234, gid: 1235 },
          ...extra,
        ]),
      ),
    ],
    config: { config: { Cmd: ['/bin/sh', '-c', 'echo ready'], ...config } },
  });
}

export async function push(registry: Registry, image: Image, repository: string): Promise<string> {
  await pushImage(registry.url, image, { repository, tag: 'latest' });
  return `${registry.host}/${repository}:latest`;
}
