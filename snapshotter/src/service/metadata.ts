import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { DrakkarError } from '@drakkar/protocol';
import type { Filter } from './filter.ts';

export type Kind = 'view' | 'active' | 'committed';

export type Labels = Readonly<Record<string, string>>;

export interface Usage {
  readonly bytes: number;
  readonly inodes: number;
}

/** The layer of an image that stands for a snapshot of which there is nothing on the disk. */
export interface RemoteLayer {
  /** Of the image, as containerd calls it. */
  readonly image: string;
  readonly manifestDigest: string;
  /** From 0, the lowest. */
  readonly layer: number;
  readonly layers: number;
}

export interface SnapshotRow {
  /** Never given twice: it names the directories. */
  readonly id: number;
  readonly name: string;
  readonly kind: Kind;
  /** Name of the parent, or empty. */
  readonly parent: string;
  readonly labels: Labels;
  /** Microseconds since 1970, as containerd compares them with its own clock. */
  readonly createdUs: number;
  readonly updatedUs: number;
  /** Of a committed one. */
  readonly usage: Usage;
  readonly remote: RemoteLayer | null;
}

export interface NewSnapshot {
  readonly name: string;
  readonly parent: string;
  readonly labels: Labels;
}

const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('view', 'active', 'committed')),
    parent INTEGER REFERENCES snapshot (id),
    labels TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0,
    inodes INTEGER NOT NULL DEFAULT 0,
    remote TEXT
  ) STRICT;
  CREATE INDEX snapshot_parent ON snapshot (parent);
  CREATE TABLE image (manifest TEXT PRIMARY KEY, remote TEXT NOT NULL) STRICT;
`;

const COLUMNS =
  "s.id, s.name, s.kind, coalesce(p.name, '') AS parent, s.labels, s.created_us, s.updated_us, s.bytes, s.inodes, s.remote";
const FROM = 'FROM snapshot s LEFT JOIN snapshot p ON p.id = s.parent';

/** Containerd allows images of some 120 layers; what is committed upon them makes chains longer. */
const MAX_CHAIN = 1000;

/**
 * Which snapshots there are, as containerd knows them: one transaction a call, on the disk when it returns. What a call may and may not do follows
 * containerd's own store. Source: core/snapshots/storage/bolt.go there.
 */
export class Metadata implements Disposable {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws `unsupported` where a newer Drakkar wrote it; `busy` where another process has it */
  constructor(file: string) {
    this.#database = new DatabaseSync(file);
    try {
      this.#database.exec(
        'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;',
      );
      this.#prepareSchema();
    } catch (error) {
      this.#database.close();
      throw isLocked(error) ? otherProcess(error) : error;
    }
  }

  #prepareSchema(): void {
    const { user_version: version } = this.#get('PRAGMA user_version') as { user_version: number };
    if (version > SCHEMA_VERSION) {
      throw new DrakkarError(
        'unsupported',
        `the snapshots’ records have version ${version}; this Drakkar knows ${SCHEMA_VERSION}`,
        { hint: 'use the Drakkar that wrote them' },
      );
    }
    if (version === 0)
      this.#transaction(() => this.#database.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION};`));
  }

  /**
   * A snapshot that is being written, or looked at.
   *
   * @throws `not_found` | `invalid_argument` where the parent is missing, or not committed; `already_exists`
   */
  create(kind: 'view' | 'active', wanted: NewSnapshot): SnapshotRow {
    return this.#transaction(() => this.#insert(kind, wanted, null));
  }

  /** A committed snapshot for which an image's layer stands. @throws as {@link create} */
  createRemote(wanted: NewSnapshot, remote: RemoteLayer): SnapshotRow {
    return this.#transaction(() => {
      const row = this.#insert('committed', wanted, remote);
      const sql = 'INSERT INTO image (manifest, remote) VALUES (?, ?) ON CONFLICT DO NOTHING';
      this.#run(sql, remote.manifestDigest, JSON.stringify(remote));
      return row;
    });
  }

  /** Images for which layers have stood, and of which containerd does not know all any more. Their lower layers may be there for others, too. */
  imagesLeft(): RemoteLayer[] {
    const isTop = ({ remote }: SnapshotRow) => remote !== null && remote.layer === remote.layers - 1;
    const whole = new Set(this.list().flatMap((row) => (isTop(row) ? row.remote?.manifestDigest : [])));
    return this.#all('SELECT remote FROM image')
      .map((stored) => JSON.parse((stored as { remote: string }).remote) as RemoteLayer)
      .filter(({ manifestDigest }) => !whole.has(manifestDigest));
  }

  /** New snapshots get numbers above these. */
  reserve(ids: readonly number[]): void {
    const highest = ids.reduce((above, id) => Math.max(above, id), 0);
    this.#transaction(() => {
      this.#run(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'snapshot', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'snapshot')",
      );
      this.#run("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'snapshot'", highest);
    });
  }

  /** Nothing of the image is in use any more. */
  imageGone({ manifestDigest }: RemoteLayer): void {
    this.#run('DELETE FROM image WHERE manifest = ?', manifestDigest);
  }

  /**
   * What was written becomes a parent for others, under another name. Labels are not inherited.
   *
   * @param parent of one that was created without; empty to leave it as it is
   * @throws `already_exists`; `not_found`; `busy` where it is not being written; `invalid_argument`
   */
  commit(key: string, { name, parent, labels }: NewSnapshot, usage: Usage): SnapshotRow {
    return this.#transaction(() => {
      if (this.find(name) !== undefined) throw taken(name);
      const active = this.stat(key);
      if (active.kind !== 'active') throw precondition(`snapshot ${key} is not active`);
      if (parent !== '' && active.parent !== '' && parent !== active.parent)
        throw new DrakkarError('invalid_argument', `snapshot ${key} has another parent than ${parent}`);
      const parentId = parent === '' ? undefined : this.#committed(parent).id;
      if (parentId !== undefined)
        this.#run('UPDATE snapshot SET parent = ? WHERE id = ?', parentId, active.id);
      const nowUs = microseconds();
      this.#run(
        "UPDATE snapshot SET name = ?, kind = 'committed', labels = ?, created_us = ?, updated_us = ?, bytes = ?, inodes = ? WHERE id = ?",
        name,
        JSON.stringify(labels),
        nowUs,
        nowUs,
        usage.bytes,
        usage.inodes,
        active.id,
      );
      return this.stat(name);
    });
  }

  /** @throws `not_found`; `busy` while others stand upon it */
  remove(key: string): SnapshotRow {
    return this.#transaction(() => {
      const row = this.stat(key);
      if (this.#get('SELECT 1 FROM snapshot WHERE parent = ? LIMIT 1', row.id) !== undefined)
        throw precondition(`cannot remove snapshot ${key}: it has children`);
      this.#run('DELETE FROM snapshot WHERE id = ?', row.id);
      return row;
    });
  }

  /** Takes back what was created, whatever is called so by now. */
  discard({ id }: SnapshotRow): void {
    this.#run(
      'DELETE FROM snapshot WHERE id = ? AND NOT EXISTS (SELECT 1 FROM snapshot WHERE parent = ?)',
      id,
      id,
    );
  }

  find(name: string): SnapshotRow | undefined {
    const row = this.#get(`SELECT ${COLUMNS} ${FROM} WHERE s.name = ?`, name);
    return row === undefined ? undefined : toRow(row);
  }

  /** @throws `not_found` */
  stat(key: string): SnapshotRow {
    return this.find(key) ?? absent(key);
  }

  /**
   * @param paths `labels`, `labels.<key>`; none for everything that can be changed
   * @throws `not_found`; `invalid_argument` for a path that can't be changed
   */
  update(name: string, labels: Labels, paths: readonly string[]): SnapshotRow {
    return this.#transaction(() => {
      const row = this.stat(name);
      const updated = updatedLabels(row.labels, labels, paths);
      this.#run(
        'UPDATE snapshot SET labels = ?, updated_us = ? WHERE id = ?',
        JSON.stringify(updated),
        Math.max(microseconds(), row.updatedUs + 1),
        row.id,
      );
      return this.stat(name);
    });
  }

  list(filter: Filter = () => true): SnapshotRow[] {
    return this.#all(`SELECT ${COLUMNS} ${FROM} ORDER BY s.id`)
      .map(toRow)
      .filter((row) => filter((path) => field(row, path)));
  }

  /** A snapshot's parents, the nearest first. */
  parents(key: string): SnapshotRow[] {
    const rows: SnapshotRow[] = [];
    for (let { parent } = this.stat(key); parent !== ''; parent = rows.at(-1)?.parent ?? '') {
      if (rows.length === MAX_CHAIN)
        throw new DrakkarError('limit_exceeded', `snapshot ${key} has more than ${MAX_CHAIN} parents`);
      rows.push(this.stat(parent));
    }
    return rows;
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #insert(kind: Kind, { name, parent, labels }: NewSnapshot, remote: RemoteLayer | null): SnapshotRow {
    const parentId = parent === '' ? null : this.#committed(parent).id;
    if (this.find(name) !== undefined) throw taken(name);
    const nowUs = microseconds();
    this.#run(
      'INSERT INTO snapshot (name, kind, parent, labels, created_us, updated_us, remote) VALUES (?, ?, ?, ?, ?, ?, ?)',
      name,
      kind,
      parentId,
      JSON.stringify(labels),
      nowUs,
      nowUs,
      remote === null ? null : JSON.stringify(remote),
    );
    return this.stat(name);
  }

  #committed(parent: string): SnapshotRow {
    const row = this.find(parent);
    if (row === undefined) throw new DrakkarError('not_found', `there is no parent snapshot ${parent}`);
    if (row.kind !== 'committed')
      throw new DrakkarError('invalid_argument', `the parent snapshot ${parent} is not committed`);
    return row;
  }

  #transaction<Result>(work: () => Result): Result {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  #get(sql: string, ...values: (string | number | null)[]): unknown {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string): unknown[] {
    return this.#statement(sql).all();
  }

  #run(sql: string, ...values: (string | number | null)[]): void {
    this.#statement(sql).run(...values);
  }
}

interface StoredRow {
  readonly id: number;
  readonly name: string;
  readonly kind: Kind;
  readonly parent: string;
  readonly labels: string;
  readonly created_us: number;
  readonly updated_us: number;
  readonly bytes: number;
  readonly inodes: number;
  readonly remote: string | null;
}

function toRow(stored: unknown): SnapshotRow {
  const row = stored as StoredRow;
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    parent: row.parent,
    labels: JSON.parse(row.labels) as Labels,
    createdUs: row.created_us,
    updatedUs: row.updated_us,
    usage: { bytes: row.bytes, inodes: row.inodes },
    remote: row.remote === null ? null : (JSON.parse(row.remote) as RemoteLayer),
  };
}

/** What filters may ask of a snapshot. Source: core/snapshots/storage/bolt.go, adaptSnapshot. */
function field({ name, kind, parent, labels }: SnapshotRow, path: readonly string[]): string | undefined {
  const [first, ...rest] = path;
  const values: Readonly<Record<string, string>> = first === 'labels' ? labels : { name, kind, parent };
  const key = first === 'labels' ? rest.join('.') : path.join('.');
  return Object.hasOwn(values, key) ? values[key] : undefined;
}

function updatedLabels(old: Labels, wanted: Labels, paths: readonly string[]): Labels {
  if (paths.length === 0) return wanted;
  let labels = { ...old };
  for (const path of paths) {
    const key = path.startsWith('labels.') ? path.slice('labels.'.length) : undefined;
    if (path === 'labels') labels = { ...wanted };
    else if (key === undefined)
      throw new DrakkarError(
        'invalid_argument',
        `the field ${JSON.stringify(path)} of a snapshot can’t be changed`,
      );
    else if (wanted[key]) labels[key] = wanted[key];
    else delete labels[key];
  }
  return labels;
}

/** Of the clock on the wall, which Node tells in milliseconds only; what is within one a clock says that nobody sets. */
function microseconds(): number {
  const wallMs = Date.now();
  const exactMs = performance.timeOrigin + performance.now();
  return Math.floor(Math.min(Math.max(exactMs, wallMs), wallMs + 0.999) * 1000);
}

const taken = (name: string) => new DrakkarError('already_exists', `there is a snapshot ${name} already`);

const precondition = (message: string) => new DrakkarError('busy', message);

function absent(key: string): never {
  throw new DrakkarError('not_found', `there is no snapshot ${key}`);
}

const isLocked = (error: unknown) =>
  error instanceof Error && 'errcode' in error && (error as { errcode: unknown }).errcode === 5;

const otherProcess = (cause: unknown) =>
  new DrakkarError('busy', 'another process has the snapshots’ records', {
    hint: 'stop the other daemon first',
    cause,
  });
