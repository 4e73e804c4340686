import { existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import type { StateStore } from './contract.ts';
import { batchesOf, goOnAlone, isEmpty, move, requireMoved } from './move.ts';
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

/** Whether several supernodes may have it. */
export const isShared = ({ redis: { url, urlFile } }: StateOptions): boolean =>
  url !== null || urlFile !== null;

/**
 * Opens what supernodes must not forget. A state that this one had of its own moves into a Redis that is empty.
 *
 * @throws `already_exists` where both have something; `unavailable` where Redis does not answer, or another one is moving its state there
 */
export async function openState(directory: string, { redis }: StateOptions): Promise<StateStore> {
  const path = join(directory, STATE_FILE);
  if (!isShared({ redis })) return await openOwn(path);
  await using stack = new AsyncDisposableStack();
  const state = stack.use(await openShared({ redis }));
  if (existsSync(path)) {
    await using own = new SqliteState(path);
    await move(own, state, path);
    await rename(path, `${path}.moved`);
  } else await requireMoved(state);
  stack.move();
  return state;
}

async function openOwn(path: string): Promise<StateStore> {
  await using stack = new AsyncDisposableStack();
  const own = stack.use(new SqliteThread(path));
  await goOnAlone(own);
  stack.move();
  return own;
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
