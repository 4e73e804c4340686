import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DrakkarError, errnoOf, toDrakkarError } from '@drakkar/protocol';

/**
 * Makes a directory and what is missing above it. Node's own `recursive` never ends where a file system lets nothing be
 * made and says that it is not there, as `/proc` does.
 *
 * @throws `already_exists` where something else is called so, `forbidden` where it can't be made, `no_space` on a full disk
 */
export async function makeDirectory(path: string, mode = 0o777): Promise<void> {
  try {
    await make(path, mode);
  } catch (cause) {
    const { code, message } = toDrakkarError(cause, 'forbidden');
    throw new DrakkarError(code, `the directory ${path} can't be made: ${message}`, {
      hint: 'name a directory on a disk that this user can write',
      cause,
    });
  }
}

async function make(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return await requireDirectory(path);
    if (errnoOf(error) !== 'ENOENT' || dirname(path) === path) throw error;
    await make(dirname(path), mode);
    await mkdir(path, { mode });
  }
}

async function requireDirectory(path: string): Promise<void> {
  const isDirectory = await stat(path).then(
    (there) => there.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw new DrakkarError('already_exists', 'what is called so is no directory');
}
