import { chmod, mkdir, mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Without it there is no cluster. */
export const CLUSTER_KEY = 'keys/cluster.pem';

/** What was renamed in it is so after a power cut, too. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

export async function directoryBeside(path: string): Promise<AsyncDisposable & { readonly path: string }> {
  await mkdir(dirname(path), { recursive: true });
  const made = await mkdtemp(`${path}.staging-`);
  await chmod(made, 0o700);
  return { path: made, [Symbol.asyncDispose]: () => rm(made, { recursive: true, force: true }) };
}

export const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
export const hasSomething = (directory: string): Promise<boolean> =>
  readdir(directory).then(
    (names) => names.length > 0,
    () => false,
  );
