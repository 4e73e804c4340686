import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@drakkar/lab';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { bySystemd } from '../../../src/configure/restart.ts';

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory('systemctl');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await directory[Symbol.asyncDispose]();
});

describe('a restart by systemd', () => {
  test.each([
    ['can’t be had where it does not answer', 'exit 1', 'unsupported'],
    ['has failed where the unit does not begin', '[ "$1" = list-units ]', 'unavailable'],
    ['has failed where none is told of', '[ "$2" != containerd.service ]', 'unavailable'],
  ])('%s', async (_, script, code) => {
    const program = join(directory.path, 'systemctl');
    await writeFile(program, `#!/bin/sh\n${script}\n`);
    await chmod(program, 0o755);
    vi.stubEnv('PATH', directory.path);
    const restarted = bySystemd(['containerd']).restart(new AbortController().signal);
    await expect(restarted).rejects.toMatchObject({ code });
  });
});
