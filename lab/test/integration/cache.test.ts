import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../../src/index.ts';

const CACHE = join(import.meta.dirname, '../../src/cache.ts');

/** A process that fills a directory of the cache, slowly, with its own name. */
function fill(cache: string) {
  const program = `
    import { writeFile } from 'node:fs/promises';
    import { setTimeout as sleep } from 'node:timers/promises';
    import { keptDirectory } from ${JSON.stringify(CACHE)};
    console.log(await keptDirectory('thing', async (making) => {
      await sleep(1_000);
      await writeFile(making + '/by-' + process.pid, 'made');
    }));`;
  return spawn(process.execPath, ['--input-type=module', '--eval', program], {
    env: { ...process.env, XDG_CACHE_HOME: cache },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

test('what several processes need at once one of them makes, another where that one is killed', async () => {
  await using cache = await temporaryDirectory('cache');
  const all = Array.from({ length: 4 }, () => fill(cache.path));
  const [killed, ...others] = all;
  killed?.kill('SIGKILL');
  const codes = await Promise.all(others.map(async (child) => (await once(child, 'exit'))[0] as number));
  expect(codes).toEqual([0, 0, 0]);
  const made = await readdir(join(cache.path, 'drakkar', 'thing'));
  expect(made).toHaveLength(1);
  expect(await readFile(join(cache.path, 'drakkar', 'thing', made[0] ?? ''), 'utf8')).toBe('made');
});
