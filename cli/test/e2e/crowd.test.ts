import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { type Registry, startRegistry, type TarItem } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';
import { limitMemory } from '../kit/memory-limit.ts';

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);
const MEBIBYTE = 1024 * 1024;
const IMAGES = 8;
const CONTAINERS_OF_IMAGE = 8;
const DATA_BYTES = 8 * MEBIBYTE;
/** For all readers together, and for everything of the helper: a fraction of what passes through their page cache. */
const READERS_BYTES = 48 * MEBIBYTE;
const HELPER_BYTES = 32 * MEBIBYTE;

const tool = (path: string): TarItem => ({ name: path.slice(1), mode: 0o755, data: readFileSync(path) });

describe.skipIf(!isRoot)(
  'sixty-four containers of eight images at once, with little memory (need root)',
  () => {
    let registry: Registry;
    let builder: Host;
    const sums = new Map<string, string>();

    beforeAll(async () => {
      registry = await startRegistry();
      builder = await startHost();
      for (let index = 0; index < IMAGES; index += 1) {
        const data = randomBytes(DATA_BYTES);
        const extra = [tool('/usr/bin/cksum'), { name: 'data', data }];
        const image = await push(registry, shellImage({}, extra), `crowd-${index}`);
        expect(await builder.drakkar('snapshot', 'build', '--push', image)).toMatchObject({ code: 0 });
        sums.set(image, execFileSync('cksum', { input: data, encoding: 'utf8' }).trim());
      }
    }, 120_000);
    afterAll(async () => {
      await builder?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
    });

    test('all read every byte, and none waits for another for ever', { timeout: 180_000 }, async () => {
      const { builderPublicKey } = await builder.client.status();
      await using host = await startHost({
        snapshots: { trustedBuilders: [builderPublicKey] },
        volumes: { background: 'off' },
        native: { backend: 'fanotify' },
      });
      await using readers = limitMemory('readers', READERS_BYTES);
      await using helper = limitMemory('helper', HELPER_BYTES);
      for (const pid of host.nativePids) helper.add(pid);
      const containers = [...sums].flatMap(([image, sum]) =>
        Array.from({ length: CONTAINERS_OF_IMAGE }, () => ({ image, sum })),
      );
      const seen = await Promise.all(
        containers.map(async ({ image }) => {
          const { id, rootfs } = await host.client.start({ image });
          for (const pid of host.nativePids) helper.add(pid);
          const inside = `echo $$ > ${readers.procs}; exec chroot ${rootfs} /bin/sh -c 'cksum < /data'`;
          const { stdout } = await run('sh', ['-c', inside]);
          await host.client.endStart(id);
          return stdout.trim();
        }),
      );
      expect(seen).toEqual(containers.map(({ sum }) => sum));
      expect({ readers: readers.killed, helper: helper.killed }).toEqual({ readers: 0, helper: 0 });
    });
  },
);
