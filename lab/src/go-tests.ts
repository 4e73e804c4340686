import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { digestOf } from '@drakkar/protocol';
import { keptDirectory } from './cache.ts';

const run = promisify(execFile);

const PROGRAM = 'tests';
const OUTPUT_BYTES = 16 * 1024 * 1024;
/** On two cores it takes two minutes, most of which goes to what is imported. */
const MOST_MS = 20 * 60_000;

/**
 * A program of a Go module's tests: minutes the first time, then taken from the cache until the module changes.
 *
 * @param files that it consists of, `go.mod` and `go.sum` among them
 * @returns its path @throws where Go is not installed, or can't reach its module proxy
 */
export async function buildGoTests(module: string, files: readonly string[]): Promise<string> {
  const contents = await Promise.all(files.map((file) => readFile(join(module, file))));
  const key = digestOf(Buffer.concat(contents)).slice(7, 23);
  const directory = await keptDirectory(`go-tests-${key}`, async (making) => {
    await run('go', ['test', '-c', '-o', join(making, PROGRAM), '.'], {
      cwd: module,
      env: { ...process.env, CGO_ENABLED: '0' },
      maxBuffer: OUTPUT_BYTES,
      timeout: MOST_MS,
    });
  });
  return join(directory, PROGRAM);
}
