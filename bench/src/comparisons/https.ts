import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Authority, startRegistry } from '@drakkar/lab';
import { digestOfFile } from '../runner/file-digest.ts';
import type { Contender } from './contender.ts';

const run = promisify(execFile);

/** What HTTPS alone takes: curl gets all layers from the registry at once, which nobody unpacks. */
export const https: Contender = {
  name: 'https',
  async prepare({ registryPlace, registryStorage, directory }) {
    const { address, within } = registryPlace;
    const authority = await Authority.make(directory);
    const { cert, key } = await authority.issue('registry', {
      subject: '/CN=registry',
      names: [`IP:${address}`],
    });
    const tls = { certificateFile: cert, keyFile: key };
    const registry = await startRegistry({ storageDirectory: registryStorage, tls, address, within });
    return {
      async fetch({ index, place }, { repository, layers }) {
        const into = join(directory, `host-${index}`);
        await mkdir(into, { recursive: true });
        const files = layers.map(({ digest }) => ({ digest, path: join(into, digest) }));
        const each = files.flatMap(({ digest, path }) => [
          ...['--output', path],
          `${registry.url}/v2/${repository}/blobs/${digest}`,
        ]);
        const options = ['--silent', '--show-error', '--fail', '--parallel', '--cacert', authority.path];
        await run(...place.within('curl', [...options, ...each]));
        for (const { digest, path } of files) {
          if ((await digestOfFile(path)).digest !== digest)
            throw new Error(`${path} is not what was asked for`);
        }
      },
      [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
    };
  },
};
