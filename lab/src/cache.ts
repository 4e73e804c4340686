import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Where the laboratory keeps what takes long to make. */
export function labCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'drakkar');
}

/** A directory of the cache, which is filled where it is not there yet. @returns its path */
export async function keptDirectory(name: string, make: (making: string) => Promise<void>): Promise<string> {
  const directory = join(labCacheDirectory(), name);
  const isThere = await stat(directory).then(
    () => true,
    () => false,
  );
  if (!isThere) await makeWhole(directory, make);
  return directory;
}

/** Fills a directory that appears when all of it is there, and stays as it is where another was quicker. */
export async function makeWhole(directory: string, make: (making: string) => Promise<void>): Promise<void> {
  const cache = dirname(directory);
  await mkdir(cache, { recursive: true });
  const making = await mkdtemp(join(cache, 'making-'));
  try {
    await make(making);
    await rename(making, directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}
