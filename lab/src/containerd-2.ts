import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { keptDirectory } from './cache.ts';

const run = promisify(execFile);

const MODULE = 'github.com/containerd/containerd/v2';
const VERSION = 'v2.4.2';
const PROGRAMS = ['containerd', 'ctr', 'containerd-shim-runc-v2'];
/** Drivers that nothing here uses, and that need more than Go to build. */
const TAGS = 'no_btrfs,no_devmapper,no_zfs';
const OUTPUT_BYTES = 16 * 1024 * 1024;
/** On two cores it takes three minutes. */
const MOST_MS = 30 * 60_000;

/**
 * containerd 2 with its `ctr` and its shim, built from their Go modules: some minutes the first time, then taken from the cache.
 * @returns the directory of the programs @throws when Go is not installed, or cannot reach its module proxy
 */
export async function buildContainerd2(): Promise<string> {
  return await keptDirectory(`containerd-${VERSION}-${PROGRAMS.length}`, install);
}

async function install(directory: string): Promise<void> {
  const programs = PROGRAMS.map((name) => `${MODULE}/cmd/${name}@${VERSION}`);
  try {
    await run('go', ['install', '-tags', TAGS, ...programs], {
      env: { ...process.env, GOBIN: directory, CGO_ENABLED: '0' },
      maxBuffer: OUTPUT_BYTES,
      timeout: MOST_MS,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error('Go is not installed: containerd 2 is built with it', { cause: error });
  }
}
