import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { containerdAt } from '@drakkar/containerd';
import { buildContainerd2, type Containerd, startContainerd } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { byEnding, TakeOver } from '../../src/configure/restart.ts';

const BACK_MS = 10_000;
/** Lets containerd begin, but not with what is refused. */
const GUARD = 'grep --quiet refused "$1" && exit 1; shift; exec "$@"';

describe.skipIf(process.getuid?.() !== 0)(
  'a containerd that what has started it starts again (needs root)',
  () => {
    const signal = new AbortController().signal;
    let containerd: Containerd;
    let config: string;

    beforeAll(async () => {
      containerd = await startContainerd({
        programs: await buildContainerd2(),
        supervised: true,
        within: (command, args) => {
          const file = args.at(-1) ?? '';
          return command === 'env' ? ['sh', ['-c', GUARD, 'sh', file, command, ...args]] : [command, args];
        },
      });
      config = join(containerd.directory, 'config.toml');
    });
    afterAll(() => containerd.stop());

    const pid = async () => (await containerdAt(containerd.address)).process?.pid;
    const add = async (text: string) => await writeFile(config, `${await readFile(config, 'utf8')}${text}`);
    const isMarked = () => existsSync(`${config}.drakkar-restart`);

    test('is another process afterwards', async () => {
      const before = await pid();
      const takeOver = new TakeOver(config, await byEnding(containerd.address, signal, BACK_MS));
      await takeOver.write(() => add('# more\n'), true, signal);
      expect(await pid()).not.toBe(before);
      expect(isMarked()).toBe(false);
    });

    test('is ended by whoever comes next, where that has failed', async () => {
      const failing = { restart: () => Promise.reject(new Error('not now')) };
      await expect(
        new TakeOver(config, failing).write(() => add('# more\n'), true, signal),
      ).rejects.toThrow();
      const next = new TakeOver(config, await byEnding(containerd.address, signal, BACK_MS));
      expect(await next.isDue()).toBe(true);
      const before = await pid();
      await next.write(async () => {}, true, signal);
      expect(await pid()).not.toBe(before);
      expect(await next.isDue()).toBe(false);
    });

    test('begins as before where it does not begin with what was written', async () => {
      const before = await readFile(config, 'utf8');
      const takeOver = new TakeOver(config, await byEnding(containerd.address, signal, BACK_MS));
      const written = takeOver.write(() => add('# refused\n'), true, signal);
      await expect(written).rejects.toMatchObject({ code: 'unavailable' });
      expect(await pid().catch(() => undefined)).toBeUndefined();
      await takeOver.takeBack(() => writeFile(config, before), signal);
      expect(await pid()).toBeGreaterThan(0);
      expect(isMarked()).toBe(false);
    });

    test('is ended by its socket alone', async () => {
      await expect(byEnding(`${config}.nothing`, signal)).rejects.toMatchObject({ code: 'unavailable' });
    });
  },
);
