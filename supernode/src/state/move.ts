import { randomUUID } from 'node:crypto';
import { DrakkarError } from '@drakkar/protocol';
import { ABSENT, type Change, type StateStore } from './contract.ts';
import type { SqliteState } from './sqlite.ts';

/** Which move it was, and how far it is: there is one for each Redis. The state that moves has the same name of it. */
const MOVE = 'settings/moved';
const [MOVING, DONE] = ['moving', 'done'];
const AT_ONCE = 200;
const BYTES_AT_ONCE = 8 * 1024 * 1024;

/** Whether no supernode has begun there, nor moves its own there. */
export async function isEmpty(shared: StateStore): Promise<boolean> {
  if ((await shared.get(MOVE)) !== undefined) return false;
  for (const prefix of ['cluster/', 'keys/'])
    if ((await shared.list(prefix, { limit: 1 })).length > 0) return false;
  return true;
}

/**
 * Takes all of a state to where others share it. One that was cut short is done again by whoever began it, and by nobody else.
 *
 * @param path what the state is called
 * @throws `already_exists` where there is something else
 */
export async function move(own: SqliteState, shared: StateStore, path: string): Promise<void> {
  const name = (await own.get(MOVE))?.value ?? randomUUID();
  await own.commit([{ key: MOVE, value: name }]);
  if (await isEmpty(shared))
    await shared.commit([{ key: MOVE, value: `${name} ${MOVING}`, expects: ABSENT }]);
  const begun = await shared.get(MOVE);
  if (begun?.value === `${name} ${DONE}`) return;
  if (begun?.value !== `${name} ${MOVING}`) {
    throw new DrakkarError('already_exists', `Redis has a state already, and so has ${path}`, {
      hint: `move ${path} away to join the other supernodes; its hosts must then enrol again with their token`,
    });
  }
  for await (const batch of batchesOf(own.everything())) await shared.commit(batch);
  await shared.commit([{ key: MOVE, value: `${name} ${DONE}`, expects: begun.revision }]);
}

/** Whoever began before all is there would begin another cluster. @throws `unavailable` while another supernode moves its state there */
export async function requireMoved(shared: StateStore): Promise<void> {
  if ((await shared.get(MOVE))?.value.endsWith(MOVING) !== true) return;
  throw new DrakkarError('unavailable', 'another supernode is moving its state into this Redis', {
    hint: 'start that one again if it has ended; this one can begin when it is done',
  });
}

/** What it becomes from now on was never moved. */
export async function goOnAlone(own: StateStore): Promise<void> {
  if ((await own.get(MOVE)) !== undefined) await own.commit([{ key: MOVE, value: null }]);
}

/** Of no more bytes at once than a server takes well; what says how a move is going is not moved. */
export async function* batchesOf(
  changes: Iterable<Change> | AsyncIterable<Change>,
): AsyncGenerator<Change[], void, undefined> {
  let batch: Change[] = [];
  let bytes = 0;
  for await (const change of changes) {
    if (change.key === MOVE) continue;
    batch.push(change);
    bytes += change.value?.length ?? 0;
    if (bytes < BYTES_AT_ONCE && batch.length < AT_ONCE) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
