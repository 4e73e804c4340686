import { existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import { ABSENT, type Change, type StateStore } from './contract.ts';
import { RedisState } from './redis.ts';
import { SqliteState } from './sqlite.ts';
import { SqliteThread } from './sqlite-thread.ts';

export interface StateOptions {
  /** Without either URL it is one of its own. */
  readonly redis: {
    readonly url: string | null;
    readonly urlFile: string | null;
    readonly keyPrefix: string;
  };
}

/** Where one keeps it that is alone. */
export const STATE_FILE = 'state.sqlite';
/** Whoever has it moves a state into Redis, or has moved one: there is one for each Redis. */
const MOVED = 'settings/moved';
const MOVED_AT_ONCE = 200;
const MOVED_BYTES = 8 * 1024 * 1024;

/** Whether several supernodes may have it. */
export const isShared = ({ redis: { url, urlFile } }: StateOptions): boolean =>
  url !== null || urlFile !== null;

/**
 * Opens what supernodes must not forget. A state that this one had of its own moves into a Redis that is empty.
 *
 * @throws `already_exists` where both have something; `unavailable` where Redis does not answer
 */
export async function openState(directory: string, { redis }: StateOptions): Promise<StateStore> {
  const path = join(directory, STATE_FILE);
  if (!isShared({ redis })) return new SqliteThread(path);
  await using stack = new AsyncDisposableStack();
  const state = stack.use(await openShared({ redis }));
  if (existsSync(path)) {
    await using own = new SqliteState(path);
    await move(own, state, path);
    await rename(path, `${path}.moved`);
  }
  stack.move();
  return state;
}

/**
 * Copies what supernodes share, as it is at one moment, to where one that is alone would have it.
 *
 * @throws `not_found` where there is nothing; `busy` where it changes too fast; `unavailable`
 */
export async function copyShared(options: StateOptions, directory: string): Promise<void> {
  await using shared = await openShared(options);
  if (await isEmpty(shared)) {
    throw new DrakkarError('not_found', `nothing is in Redis under ${options.redis.keyPrefix}`, {
      hint: 'start the supernode once, or correct state.redis',
    });
  }
  await using copy = new SqliteState(join(directory, STATE_FILE));
  for await (const batch of batchesOf(shared.everything())) await copy.commit(batch);
}

/** Sees to it that nothing is shared yet, where anything is to be. @throws `already_exists` | `unavailable` */
export async function requireUnshared(options: StateOptions): Promise<void> {
  if (!isShared(options)) return;
  await using shared = await openShared(options);
  if (await isEmpty(shared)) return;
  throw new DrakkarError('already_exists', `Redis has a state under ${options.redis.keyPrefix} already`, {
    hint: 'stop all supernodes and give them another state.redis.keyPrefix: what is there stays as it is',
  });
}

async function openShared({ redis }: StateOptions): Promise<RedisState> {
  const url = redis.url ?? (await readFile(redis.urlFile ?? '', 'utf8')).trim();
  return await RedisState.open({ url, keyPrefix: redis.keyPrefix });
}

/** Whether no supernode has begun there, nor moves its own there. */
async function isEmpty(shared: StateStore): Promise<boolean> {
  const begun = await shared.get(MOVED);
  return begun === undefined && (await shared.list('cluster/', { limit: 1 })).length === 0;
}

async function move(own: SqliteState, shared: StateStore, path: string): Promise<void> {
  const begun = await shared.get(MOVED);
  const isBegun = !(await isEmpty(shared));
  // One that was cut short is done again, by whoever began it.
  if (isBegun && begun?.value !== path) {
    throw new DrakkarError('already_exists', `Redis has a state already, and so has ${path}`, {
      hint: `move ${path} away to join the other supernodes; its hosts must then enrol again with their token`,
    });
  }
  if (!isBegun) await shared.commit([{ key: MOVED, value: path, expects: ABSENT }]);
  for await (const batch of batchesOf(own.everything())) await shared.commit(batch);
}

/** Of no more bytes at once than a server takes well; what says where it was moved from is another's. */
async function* batchesOf(
  changes: Iterable<Change> | AsyncIterable<Change>,
): AsyncGenerator<Change[], void, undefined> {
  let batch: Change[] = [];
  let bytes = 0;
  for await (const change of changes) {
    if (change.key === MOVED) continue;
    batch.push(change);
    bytes += change.value?.length ?? 0;
    if (bytes < MOVED_BYTES && batch.length < MOVED_AT_ONCE) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
