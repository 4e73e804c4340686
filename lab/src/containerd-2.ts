import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keptDirectory } from './cache.ts';

const run = promisify(execFile);

const MODULE = 'github.com/containerd/containerd/v2';
const VERSION = 'v2.4.2';
const PROGRAMS = ['containerd', 'ctr', 'containerd-shim-runc-v2'];
/** Drivers that nothing here uses, and that need more than Go to build. */
const TAGS = 'no_btrfs,no_devmapper,no_zfs';
const OUTPUT_BYTES = 16 * 1024 * 1024;
/** A runc for it: the one of Debian 12 knows no user namespaces of pods. Its module names what it needs, so that it can't be installed by its name alone. */
const RUNC = { module: join(import.meta.dirname, '../runc'), name: 'github.com/opencontainers/runc' };
/** On two cores it takes three minutes. */
const MOST_MS = 30 * 60_000;

/**
 * containerd 2 with its `ctr`, its shim and a runc, built from their Go modules: some minutes the first time, then taken from the cache.
 * @returns the directory of the programs @throws when Go is not installed, or cannot reach its module proxy
 */
export async function buildContainerd2(): Promise<string> {
  return await keptDirectory(`containerd-${VERSION}-with-runc`, install);
}

async function install(directory: string): Promise<void> {
  const programs = PROGRAMS.map((name) => `${MODULE}/cmd/${name}@${VERSION}`);
  const options = { maxBuffer: OUTPUT_BYTES, timeout: MOST_MS };
  try {
    await run('go', ['install', '-tags', TAGS, ...programs], {
      ...options,
      env: { ...process.env, GOBIN: directory, CGO_ENABLED: '0' },
    });
    await run('go', ['build', '-o', join(directory, 'runc'), RUNC.name], {
      ...options,
      cwd: RUNC.module,
      env: { ...process.env, CGO_ENABLED: '1' },
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error('Go is not installed: containerd 2 is built with it', { cause: error });
  }
}
