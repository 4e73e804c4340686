import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keptDirectory } from './cache.ts';

const run = promisify(execFile);

const PROGRAM = 'spegel';
const MODULE = 'github.com/spegel-org/spegel';
const VERSION = 'v0.7.4';
const MOST_MS = 30 * 60_000;

/**
 * Spegel from its Go module: some minutes the first time, then taken from the cache. One on the path is taken as it is, which must know the options of the same release.
 *
 * @returns the program @throws where there is none on the path, and no Go, or nothing that Go may have it from
 */
export async function buildSpegel(): Promise<string> {
  const onPath = await run('sh', ['-c', 'command -v "$1"', 'sh', PROGRAM]).catch(() => undefined);
  if (onPath !== undefined) return onPath.stdout.trim();
  try {
    const directory = await keptDirectory(`spegel-${VERSION}`, async (making) => {
      const env = { ...process.env, GOBIN: making, CGO_ENABLED: '0' };
      await run('go', ['install', `${MODULE}@${VERSION}`], { env, timeout: MOST_MS });
    });
    return join(directory, PROGRAM);
  } catch (error) {
    const { stderr = '', message } = error as Error & { readonly stderr?: string };
    const why = stderr.trim().split('\n').at(-1)?.trim() || message;
    throw new Error(`no ${PROGRAM} on the path, and Go could not build ${MODULE}@${VERSION}: ${why}`, {
      cause: error,
    });
  }
}
