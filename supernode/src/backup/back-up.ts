import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pipeline } from 'node:stream/promises';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import type { SupernodeConfig } from '../config.ts';
import { SharedKeys } from '../replicas/index.ts';
import { copyShared, isShared, SqliteState, STATE_FILE } from '../state/index.ts';
import { PATH, writeArchive } from './archive.ts';
import { CLUSTER_KEY, directoryBeside, isThere, syncDirectory } from './files.ts';

export interface BackedUp {
  readonly files: number;
  readonly sizeBytes: number;
  readonly createdAtMs: number;
}

/**
 * Writes all that a supernode must not forget into one file, which only its owner may read: who has it can be the cluster. What it shares with others in
 * Redis is in it as if it had it alone. All of them may run meanwhile; what they change after this has ended is not in it.
 *
 * @throws `not_found` where no supernode has been, or the file's directory is not there; `already_exists` where the file is there; `unavailable` while Redis is away
 */
export async function backUp(
  { stateDirectory, state }: Pick<SupernodeConfig, 'stateDirectory' | 'state'>,
  output: string,
): Promise<BackedUp> {
  const found = await filesOf(stateDirectory);
  if (!found.includes(CLUSTER_KEY)) {
    throw new DrakkarError('not_found', `there is no supernode's state in ${stateDirectory}`, {
      hint: 'name the supernode’s file with --config',
    });
  }
  const directory = dirname(resolve(output));
  // What is not mounted is not there either: a backup of its own making would be where nobody looks for it.
  if (!(await isThere(directory))) {
    throw new DrakkarError('not_found', `there is no directory ${directory}`, {
      hint: 'mount it, or make it first',
    });
  }
  if (await isThere(output)) throw new DrakkarError('already_exists', `${output} is already there`);
  await using staging = await directoryBeside(output);
  const own = found.filter((path) => isDatabase(path) && !(isShared(state) && path === STATE_FILE));
  for (const path of own) copyDatabase(join(stateDirectory, path), join(staging.path, path));
  if (isShared(state)) await copyShared(state, staging.path);
  // Keys are only added, and before a database names them: those that there are now are all that the copies name.
  for (const path of (await filesOf(stateDirectory)).filter((path) => !isDatabase(path))) {
    await mkdir(dirname(join(staging.path, path)), { recursive: true });
    await copy(join(stateDirectory, path), join(staging.path, path));
  }
  if (isShared(state)) await addSharedKeys(state, staging.path);
  const whole = join(staging.path, 'whole.tar');
  const { files, createdAtMs } = await writeArchive(whole, staging.path, await filesOf(staging.path));
  await rename(whole, output);
  await syncDirectory(directory);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return { files: files.length, sizeBytes, createdAtMs };
}

/** One that another supernode has made may not have come to this one yet. */
async function addSharedKeys(state: SupernodeConfig['state'], directory: string): Promise<void> {
  await using copied = new SqliteState(join(directory, STATE_FILE));
  await (await SharedKeys.open(copied, join(directory, dirname(CLUSTER_KEY)), state)).pull();
}

const isDatabase = (path: string): boolean => path.endsWith('.sqlite');

async function filesOf(stateDirectory: string): Promise<string[]> {
  const entries = await readdir(stateDirectory, { recursive: true }).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  return entries.filter((path) => PATH.test(path)).sort();
}

/** As it was at one moment, also while somebody writes. */
function copyDatabase(from: string, to: string): void {
  using database = new DatabaseSync(from, { readOnly: true });
  database.prepare('VACUUM INTO ?').run(to);
}

async function copy(from: string, to: string): Promise<void> {
  await pipeline(createReadStream(from), createWriteStream(to, { mode: 0o600 }));
}
