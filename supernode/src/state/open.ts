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

const FILE = 'state.sqlite';
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
  const path = join(directory, FILE);
  if (!isShared({ redis })) return new SqliteThread(path);
  const url = redis.url ?? (await readFile(redis.urlFile ?? '', 'utf8')).trim();
  await using stack = new AsyncDisposableStack();
  const state = stack.use(await RedisState.open({ url, keyPrefix: redis.keyPrefix }));
  if (existsSync(path)) {
    await using own = new SqliteState(path);
    await move(own, state, path);
    await rename(path, `${path}.moved`);
  }
  stack.move();
  return state;
}

async function move(own: SqliteState, shared: StateStore, path: string): Promise<void> {
  const begun = await shared.get(MOVED);
  const isEmpty = begun === undefined && (await shared.list('cluster/', { limit: 1 })).length === 0;
  // One that was cut short is done again, by whoever began it.
  if (!isEmpty && begun?.value !== path) {
    throw new DrakkarError('already_exists', `Redis has a state already, and so has ${path}`, {
      hint: `move ${path} away to join the other supernodes; its hosts must then enrol again with their token`,
    });
  }
  if (isEmpty) await shared.commit([{ key: MOVED, value: path, expects: ABSENT }]);
  for (const batch of batchesOf(own.everything())) await shared.commit(batch);
}

/** Of no more bytes at once than a server takes well. */
function* batchesOf(changes: Iterable<Change>): Generator<Change[]> {
  let batch: Change[] = [];
  let bytes = 0;
  for (const change of changes) {
    batch.push(change);
    bytes += change.value?.length ?? 0;
    if (bytes < MOVED_BYTES && batch.length < MOVED_AT_ONCE) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
