import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { labCacheDirectory } from './debian.ts';

const run = promisify(execFile);

const MODULE = 'github.com/containerd/containerd/v2';
const VERSION = 'v2.4.2';
/** Drivers that nothing here uses, and that need more than Go to build. */
const TAGS = 'no_btrfs,no_devmapper,no_zfs';
const OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * containerd 2 and its `ctr`, built from their Go modules: some minutes the first time, then taken from the cache.
 * @returns the directory of both programs @throws when Go is not installed, or cannot reach its module proxy
 */
export async function buildContainerd2(): Promise<string> {
  const cache = labCacheDirectory();
  const directory = join(cache, `containerd-${VERSION}`);
  const isThere = await stat(directory).then(
    () => true,
    () => false,
  );
  if (isThere) return directory;
  await mkdir(cache, { recursive: true });
  const making = await mkdtemp(join(cache, 'making-'));
  try {
    const programs = ['containerd', 'ctr'].map((name) => `${MODULE}/cmd/${name}@${VERSION}`);
    await run('go', ['install', '-tags', TAGS, ...programs], {
      env: { ...process.env, GOBIN: making, CGO_ENABLED: '0' },
      maxBuffer: OUTPUT_BYTES,
    }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      throw new Error('Go is not installed: containerd 2 is built with it', { cause: error });
    });
    await rename(making, directory).catch(async (error: NodeJS.ErrnoException) => {
      // Another has been quicker.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return directory;
}
