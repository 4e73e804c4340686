import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf, errnoOf } from '@drakkar/protocol';

const POLL_MS = 250;

/** Where the laboratory keeps what takes long to make. */
export function labCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'drakkar');
}

/** A directory of the cache, which is filled where it is not there yet, by one process at a time. @returns its path */
export async function keptDirectory(name: string, make: (making: string) => Promise<void>): Promise<string> {
  const directory = join(labCacheDirectory(), name);
  if (await isThere(directory)) return directory;
  await using _ = await turn(directory);
  if (!(await isThere(directory))) await makeWhole(directory, make);
  return directory;
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Waits until nobody else on this machine has it, and holds it until it is disposed or the process ends: a socket without a file. */
async function turn(name: string): Promise<AsyncDisposable> {
  const path = `\0drakkar-lab-${digestOf(name).slice(7, 39)}`;
  for (;;) {
    const server = createServer();
    try {
      server.listen(path);
      await once(server, 'listening');
      return { [Symbol.asyncDispose]: async () => void server.close() };
    } catch (error) {
      if (errnoOf(error) !== 'EADDRINUSE') throw error;
      await sleep(POLL_MS);
    }
  }
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
