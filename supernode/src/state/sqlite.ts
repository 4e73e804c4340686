import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { DrakkarError } from '@drakkar/protocol';
import { boundsOf, checkChanges, checkKey } from './checks.ts';
import {
  ABSENT,
  type Change,
  type ChangedKeys,
  type Check,
  type Entry,
  type ListOptions,
  STATE_LIMITS,
  type StateStore,
  SWEEP_MS,
} from './contract.ts';
import { Watchers } from './watchers.ts';

/** One SQL text for each version of the tables, applied in order; `user_version` says how many were. Never change one: add one. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE documents (
     key TEXT PRIMARY KEY,
     value TEXT NOT NULL,
     revision INTEGER NOT NULL,
     expires_at_ms INTEGER
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX by_expiry ON documents (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
   CREATE TABLE revision (last INTEGER NOT NULL) STRICT;
   INSERT INTO revision VALUES (0);`,
];

/**
 * The state of one supernode alone, in a file. What was committed survives a power cut. Whoever calls waits for the disk, so that a program with
 * more to do has it in a thread: {@link SqliteThread}.
 */
export class SqliteState implements StateStore {
  readonly #database: DatabaseSync;
  readonly #watchers = new Watchers();
  readonly #sweeping: NodeJS.Timeout | undefined;
  readonly #statements: Readonly<Record<'get' | 'forward' | 'backward' | 'put' | 'remove', StatementSync>>;

  /**
   * @param sweeps whether it takes away what goes by itself
   * @throws `unsupported` where a later version has written the file
   */
  constructor(path: string, sweeps = true) {
    this.#database = new DatabaseSync(path);
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    migrate(this.#database, path);
    const list = (order: string) =>
      this.#database.prepare(
        `SELECT key, value, revision FROM documents WHERE key > ? AND key < ? AND ${ALIVE} ORDER BY key ${order} LIMIT ?`,
      );
    this.#statements = {
      get: this.#database.prepare(`SELECT key, value, revision FROM documents WHERE key = ? AND ${ALIVE}`),
      forward: list('ASC'),
      backward: list('DESC'),
      put: this.#database.prepare('INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)'),
      remove: this.#database.prepare('DELETE FROM documents WHERE key = ?'),
    };
    if (sweeps) this.#sweeping = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key);
    return this.#get(key);
  }

  async list(prefix: string, options: ListOptions): Promise<Entry[]> {
    const { from, to } = boundsOf(prefix, options);
    const statement = options.reverse === true ? this.#statements.backward : this.#statements.forward;
    const limit = Math.min(options.limit, STATE_LIMITS.entries);
    return statement.all(from, to, Date.now(), limit) as unknown as Entry[];
  }

  async commit(changes: readonly Change[], checks: readonly Check[] = []): Promise<number | undefined> {
    checkChanges(changes, checks);
    const nowMs = Date.now();
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      if (![...checks, ...changes].every((each) => this.#isAsExpected(each))) {
        this.#database.exec('ROLLBACK');
        return undefined;
      }
      const row = this.#database.prepare('UPDATE revision SET last = last + 1 RETURNING last').get();
      const revision = Number(row?.last);
      for (const { key, value, ttlMs } of changes) {
        if (value === null) this.#statements.remove.run(key);
        else this.#statements.put.run(key, value, revision, ttlMs === undefined ? null : nowMs + ttlMs);
      }
      this.#database.exec('COMMIT');
      this.#tell(changes.map(({ key }) => key));
      return revision;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  watch(prefix: string, listener: (keys: ChangedKeys) => void): Disposable {
    return this.#watchers.add(prefix, listener);
  }

  /** What would make it anew, elsewhere. */
  *everything(): Generator<Change> {
    const nowMs = Date.now();
    const rows = this.#database.prepare(`SELECT key, value, expires_at_ms FROM documents WHERE ${ALIVE}`);
    for (const { key, value, expires_at_ms } of rows.iterate(nowMs)) {
      const change = { key: String(key), value: String(value) };
      yield expires_at_ms === null ? change : { ...change, ttlMs: Number(expires_at_ms) - nowMs };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeping);
    this.#database.close();
  }

  #get(key: string): Entry | undefined {
    return this.#statements.get.get(key, Date.now()) as unknown as Entry | undefined;
  }

  #isAsExpected({ key, expects }: Pick<Change, 'key' | 'expects'>): boolean {
    return expects === undefined || (this.#get(key)?.revision ?? ABSENT) === expects;
  }

  /** What can't be taken away now is another time: nobody sees it any more. */
  #sweep(): void {
    try {
      this.#removeExpired();
    } catch {
      // A disk that is full says so to whoever writes.
    }
  }

  #removeExpired(): void {
    const gone = this.#database
      .prepare('DELETE FROM documents WHERE expires_at_ms <= ? RETURNING key')
      .all(Date.now());
    if (gone.length > 0) this.#tell(gone.map(({ key }) => String(key)));
  }

  /** Not before whoever has made a change knows that it has happened. */
  #tell(keys: readonly string[]): void {
    setImmediate(() => this.#watchers.tell(keys));
  }
}

const ALIVE = '(expires_at_ms IS NULL OR expires_at_ms > ?)';

function migrate(database: DatabaseSync, path: string): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  if (version > MIGRATIONS.length) {
    throw new DrakkarError('unsupported', `${path} was written by a later version`, {
      hint: 'install that version again, or restore a backup of before it was',
    });
  }
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index < version) continue;
    database.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
}
