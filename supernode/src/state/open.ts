import { existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import { ABSENT, type Entry, type StateStore } from './contract.ts';
import { RedisState } from './redis.ts';
import { SqliteState } from './sqlite.ts';

export interface StateOptions {
  /** `null` for a state of its own. */
  readonly redis: {
    readonly url: string | null;
    readonly urlFile: string | null;
    readonly keyPrefix: string;
  } | null;
}

const FILE = 'state.sqlite';
/** Whoever has it moves a state into Redis, or has moved one: there is one for each Redis. */
const MOVED = 'settings/moved';
const PAGE = 200;
const MOVED_BYTES = 8 * 1024 * 1024;

/**
 * Opens what supernodes must not forget. A state that this one had of its own moves into a Redis that is empty.
 *
 * @throws `already_exists` where both have something; `unavailable` where Redis does not answer
 */
export async function openState(directory: string, { redis }: StateOptions): Promise<StateStore> {
  const path = join(directory, FILE);
  if (redis === null) return new SqliteState(path);
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

async function move(own: StateStore, shared: StateStore, path: string): Promise<void> {
  const begun = await shared.get(MOVED);
  const isEmpty = begun === undefined && (await shared.list('cluster/', { limit: 1 })).length === 0;
  // One that was cut short is done again, by whoever began it.
  if (!isEmpty && begun?.value !== path) {
    throw new DrakkarError('already_exists', `Redis has a state already, and so has ${path}`, {
      hint: `move ${path} away to join the other supernodes; its hosts must then enrol again with their token`,
    });
  }
  if (isEmpty) await shared.commit([{ key: MOVED, value: path, expects: ABSENT }]);
  for (let after = ''; ; ) {
    const entries = await own.list('', { after, limit: PAGE });
    for (const batch of batchesOf(entries))
      await shared.commit(batch.map(({ key, value }) => ({ key, value })));
    const last = entries.at(-1)?.key;
    if (last === undefined) return;
    after = last;
  }
}

/** Of no more bytes at once than a server takes well. */
function* batchesOf(entries: readonly Entry[]): Generator<Entry[]> {
  let batch: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    batch.push(entry);
    bytes += entry.value.length;
    if (bytes < MOVED_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
