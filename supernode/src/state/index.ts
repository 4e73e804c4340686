/** What supernodes must not forget: one contract, kept in a file or in Redis. */
export { Collection, type Page, type PageOptions, type Stored } from './collection.ts';
export {
  ABSENT,
  type Change,
  type ChangedKeys,
  type Check,
  type Entry,
  STATE_LIMITS,
  type StateStore,
} from './contract.ts';
export { FencedState } from './fenced.ts';
export {
  copyShared,
  isShared,
  openState,
  requireUnshared,
  STATE_FILE,
  type StateOptions,
} from './open.ts';
export { RedisState, type RedisStateOptions } from './redis.ts';
export { SqliteState } from './sqlite.ts';
export { SqliteThread } from './sqlite-thread.ts';
export { WriteBehind } from './write-behind.ts';
