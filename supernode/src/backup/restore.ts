import { chown, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ADMIN_SOCKET_NAME } from '@drakkar/client';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { isAnswered } from '@drakkar/service';
import type { SupernodeConfig } from '../config.ts';
import { isShared, openState, requireUnshared } from '../state/index.ts';
import { readArchive } from './archive.ts';
import type { BackedUp } from './back-up.ts';
import { directoryBeside, hasSomething, syncDirectory } from './files.ts';
import { swap, undoSwap } from './swap.ts';

/**
 * Puts what was backed up in the place of a supernode's state. All of it is there, and is what it was, or nothing has happened; where it was ended half way,
 * no supernode begins there ({@link requireRestored}) until it is called again. Who had the directory has what is restored. What supernodes share moves into
 * Redis, which must have nothing of theirs.
 *
 * @param replace what is there goes aside, to a directory whose name is returned
 * @throws `busy` while a supernode has the directory; `already_exists` where something is there, or in Redis; `invalid_content` for what is no backup;
 *   `unavailable` where Redis is away: where it went away at the end, the supernode moves what is shared when it starts
 */
export async function restore(
  input: string,
  { stateDirectory: place, state }: Pick<SupernodeConfig, 'stateDirectory' | 'state'>,
  replace: boolean,
): Promise<BackedUp & { readonly aside: string | null }> {
  const stateDirectory = resolve(place);
  if (await isAnswered(join(stateDirectory, ADMIN_SOCKET_NAME))) {
    throw new DrakkarError('busy', `a supernode has ${stateDirectory}`, { hint: 'stop it first' });
  }
  await requireUnshared(state);
  await undoSwap(stateDirectory);
  const isTaken = await hasSomething(stateDirectory);
  if (isTaken && !replace) {
    throw new DrakkarError('already_exists', `something is in ${stateDirectory}`, {
      hint: 'with --replace it is put aside',
    });
  }
  await using staging = await directoryBeside(stateDirectory);
  const restored = join(staging.path, 'state');
  const { files, createdAtMs } = await readArchive(input, restored);
  await giveTo(restored, await ownerOf(stateDirectory));
  await syncDirectories(restored);
  const aside = isTaken ? `${stateDirectory}.before-${Date.now()}` : null;
  try {
    await swap(stateDirectory, { restored, aside });
  } catch (error) {
    await undoSwap(stateDirectory);
    throw error;
  }
  if (isShared(state)) await (await openState(stateDirectory, state))[Symbol.asyncDispose]();
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return { files: files.length, sizeBytes, createdAtMs, aside };
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whose files they are to be: where root restores them, the supernode may run as somebody else. */
async function ownerOf(directory: string): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  return await stat(directory).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
}

async function giveTo(directory: string, owner: Owner | undefined): Promise<void> {
  if (owner === undefined) return;
  for (const path of await readdir(directory, { recursive: true }))
    await chown(join(directory, path), owner.uid, owner.gid);
  await chown(directory, owner.uid, owner.gid);
}

async function syncDirectories(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await syncDirectory(join(entry.parentPath, entry.name));
  await syncDirectory(directory);
}
