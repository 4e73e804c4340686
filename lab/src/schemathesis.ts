import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keptDirectory } from './cache.ts';

const run = promisify(execFile);
const VERSION = '4.32.5';
const MOST_MS = 5 * 60_000;

/** What asks an API whatever its own description allows, and more. @returns the words that begin its command line. @throws where Python, or PyPI, is not there */
export async function schemathesis(): Promise<readonly [program: string, ...words: string[]]> {
  const directory = await keptDirectory(`schemathesis-${VERSION}`, async (making) => {
    await run('python3', ['-m', 'venv', making], { timeout: MOST_MS });
    const install = [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `schemathesis==${VERSION}`,
    ];
    await run(join(making, 'bin/python'), install, { timeout: MOST_MS });
  });
  return [join(directory, 'bin/python'), '-m', 'schemathesis.cli'];
}
