import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { type Digest, DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { ContentKind } from './layout.ts';
import { SCHEMA_VERSION, upgrade } from './schema.ts';

/** What the index knows of one content. */
export interface ContentRow {
  readonly digest: Digest;
  readonly kind: ContentKind;
  readonly sizeBytes: number;
  readonly mediaType: string | null;
  readonly complete: boolean;
  /** False after an unclean stop, until its bytes have been read and compared. */
  readonly verified: boolean;
  readonly lastUseMs: number;
  /** The piece table by which its recorded pieces are cut; `null` where they have a fixed length. */
  readonly piecesTable: Digest | null;
  /** A trusted piece table by which others may ask for it. */
  readonly table: Digest | null;
}

/** A piece that is durably here. */
export interface PieceRow {
  readonly piece: number;
  readonly start: number;
  readonly end: number;
  readonly sha256: Buffer;
}

/** The last answer of a registry about a tag. */
export interface TagRow {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly resolvedAtMs: number;
}

/** Tags remembered, at most; the oldest go first. */
const MAX_TAGS = 10_000;

const TOUCHED_MS = 1_000;

const SQLITE = { busy: 5, ioError: 10, readOnly: 8, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/**
 * The store's index. SQLite holds its file exclusively, so a state directory belongs to one process; the lock goes with the
 * process however it ends.
 */
export class IndexFile implements Disposable {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** When contents were used of which that is not written yet. */
  readonly #touched = new Map<Digest, number>();
  #noting: NodeJS.Timeout | undefined;

  /** @throws `busy` when another process has the directory; `forbidden` | `no_space` | `invalid_content` */
  constructor(file: string) {
    this.#database = translated(() => new DatabaseSync(file));
    try {
      translated(() => {
        this.#database.exec(
          'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;',
        );
        this.#prepareSchema();
      });
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  #prepareSchema(): void {
    const { user_version: version } = this.#get('PRAGMA user_version') as { user_version: number };
    if (version === SCHEMA_VERSION) return;
    if (version > SCHEMA_VERSION) {
      throw new DrakkarError(
        'unsupported',
        `the store’s index has version ${version}; this Drakkar knows ${SCHEMA_VERSION}`,
        {
          hint: 'use the Drakkar that wrote it, or empty the state directory',
        },
      );
    }
    this.transaction(() => upgrade(this.#database, version));
  }

  /** All of `work` or nothing of it. @throws `no_space` on a full disk, and what `work` throws */
  transaction<T>(work: () => T): T {
    return translated(() => {
      this.#database.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        this.#database.exec('COMMIT');
        return result;
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        throw error;
      }
    });
  }

  wasStoppedCleanly(): boolean {
    const row = this.#get("SELECT value FROM mark WHERE name = 'clean'") as { value: string } | undefined;
    return row?.value === 'yes';
  }

  /** Durable when it returns. */
  markClean(clean: boolean): void {
    this.#run("INSERT OR REPLACE INTO mark (name, value) VALUES ('clean', ?)", clean ? 'yes' : 'no');
  }

  /** From here on a power cut may undo the last changes; never half of one. */
  relaxDurability(relaxed: boolean): void {
    this.#database.exec(`PRAGMA synchronous = ${relaxed ? 'NORMAL' : 'FULL'}`);
  }

  markAllUnverified(): void {
    this.#run('UPDATE content SET verified = 0');
  }

  find(digest: Digest): ContentRow | undefined {
    return toContent(this.#get('SELECT * FROM content WHERE digest = ?', digest));
  }

  list(): ContentRow[] {
    this.#noteTouched();
    return this.#all('SELECT * FROM content ORDER BY last_use_ms DESC, digest').flatMap(
      (row) => toContent(row) ?? [],
    );
  }

  insert(row: ContentRow): void {
    this.#run(
      'INSERT INTO content (digest, kind, size_bytes, media_type, complete, verified, last_use_ms, pieces_table, table_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      row.digest,
      row.kind,
      row.sizeBytes,
      row.mediaType,
      Number(row.complete),
      Number(row.verified),
      row.lastUseMs,
      row.piecesTable,
      row.table,
    );
  }

  delete(digest: Digest): void {
    this.#run('DELETE FROM content WHERE digest = ?', digest);
  }

  setKind(digest: Digest, kind: ContentKind): void {
    this.#run('UPDATE content SET kind = ? WHERE digest = ?', kind, digest);
  }

  setTable(digest: Digest, table: Digest): void {
    this.#run('UPDATE content SET table_digest = ? WHERE digest = ?', table, digest);
  }

  /** Does nothing where the content is not in the index. */
  addOrigin(digest: Digest, registry: string): void {
    this.#run(
      'INSERT OR IGNORE INTO origin (digest, registry) SELECT digest, ? FROM content WHERE digest = ?',
      registry,
      digest,
    );
  }

  origins(digest: Digest): string[] {
    const rows = this.#all('SELECT registry FROM origin WHERE digest = ? ORDER BY registry', digest);
    return (rows as { registry: string }[]).map(({ registry }) => registry);
  }

  setState(digest: Digest, state: { complete: boolean; verified: boolean }): void {
    const { complete, verified } = state;
    this.#run(
      'UPDATE content SET complete = ?, verified = ? WHERE digest = ?',
      Number(complete),
      Number(verified),
      digest,
    );
  }

  /** Under another digest, complete; its pieces and origins go with it. */
  rename(from: Digest, to: Digest): void {
    this.#run(
      `INSERT INTO content (digest, kind, size_bytes, media_type, complete, verified, last_use_ms)
       SELECT ?, kind, size_bytes, media_type, 1, 1, last_use_ms FROM content WHERE digest = ?`,
      to,
      from,
    );
    this.#run('UPDATE piece SET digest = ? WHERE digest = ?', to, from);
    this.#run('UPDATE origin SET digest = ? WHERE digest = ?', to, from);
    this.#run('DELETE FROM content WHERE digest = ?', from);
  }

  /** Written within a second, many in one transaction. What a crash or the disk loses of them only changes what goes first. */
  touch(digest: Digest, nowMs: number): void {
    this.#touched.set(digest, nowMs);
    this.#noting ??= setTimeout(() => this.#noteTouched(), TOUCHED_MS).unref();
  }

  #noteTouched(): void {
    clearTimeout(this.#noting);
    this.#noting = undefined;
    const touched = [...this.#touched];
    this.#touched.clear();
    if (touched.length === 0) return;
    const note = () => {
      for (const [digest, atMs] of touched)
        this.#run('UPDATE content SET last_use_ms = max(last_use_ms, ?) WHERE digest = ?', atMs, digest);
    };
    try {
      if (this.#database.isTransaction) note();
      else this.transaction(note);
    } catch (error) {
      if (!isDrakkarError(error)) throw error;
    }
  }

  totalBytes(): number {
    return (this.#get('SELECT coalesce(sum(size_bytes), 0) AS total FROM content') as { total: number })
      .total;
  }

  lastUseMs(): number {
    return (this.#get('SELECT coalesce(max(last_use_ms), 0) AS last FROM content') as { last: number }).last;
  }

  /** What no holder keeps, and no content that others may ask for by it, least recently used first. */
  *unpinned(): Generator<ContentRow> {
    this.#noteTouched();
    const sql = `SELECT * FROM content WHERE digest NOT IN (SELECT digest FROM pin)
      AND digest NOT IN (SELECT table_digest FROM content WHERE table_digest IS NOT NULL) ORDER BY last_use_ms, digest`;
    for (const row of this.#statement(sql).iterate()) {
      const content = toContent(row);
      if (content !== undefined) yield content;
    }
  }

  /** In their order. */
  pieces(digest: Digest): PieceRow[] {
    const rows = this.#all(
      'SELECT piece, start_bytes, end_bytes, sha256 FROM piece WHERE digest = ? ORDER BY piece',
      digest,
    ) as { piece: number; start_bytes: number; end_bytes: number; sha256: Uint8Array }[];
    return rows.map(({ piece, start_bytes: start, end_bytes: end, sha256 }) => {
      return { piece, start, end, sha256: Buffer.from(sha256) };
    });
  }

  piecesBytes(digest: Digest): number {
    const sql = 'SELECT coalesce(sum(end_bytes - start_bytes), 0) AS total FROM piece WHERE digest = ?';
    return (this.#get(sql, digest) as { total: number }).total;
  }

  addPiece(digest: Digest, { piece, start, end, sha256 }: PieceRow): void {
    this.#run(
      'INSERT OR REPLACE INTO piece (digest, piece, start_bytes, end_bytes, sha256) VALUES (?, ?, ?, ?, ?)',
      digest,
      piece,
      start,
      end,
      sha256,
    );
  }

  /** None is recorded any more, and those that will be have a fixed length. */
  forgetPieces(digest: Digest): void {
    this.#run('DELETE FROM piece WHERE digest = ?', digest);
    this.#run('UPDATE content SET pieces_table = NULL WHERE digest = ?', digest);
  }

  removePiece(digest: Digest, piece: number): void {
    this.#run('DELETE FROM piece WHERE digest = ? AND piece = ?', digest, piece);
  }

  pin(digest: Digest, holder: string): void {
    this.#run('INSERT OR IGNORE INTO pin (holder, digest) VALUES (?, ?)', holder, digest);
  }

  unpin(holder: string): void {
    this.#run('DELETE FROM pin WHERE holder = ?', holder);
  }

  holders(digest?: Digest): string[] {
    const rows =
      digest === undefined
        ? this.#all('SELECT DISTINCT holder FROM pin ORDER BY holder')
        : this.#all('SELECT holder FROM pin WHERE digest = ? ORDER BY holder', digest);
    return (rows as { holder: string }[]).map(({ holder }) => holder);
  }

  findTag(registry: string, repository: string, tag: string): TagRow | undefined {
    const row = this.#get(
      'SELECT * FROM tag WHERE registry = ? AND repository = ? AND tag = ?',
      registry,
      repository,
      tag,
    ) as { digest: string; media_type: string; size_bytes: number; resolved_at_ms: number } | undefined;
    if (row === undefined) return undefined;
    const { digest, media_type: mediaType, size_bytes: sizeBytes, resolved_at_ms: resolvedAtMs } = row;
    return { digest: digest as Digest, mediaType, sizeBytes, resolvedAtMs };
  }

  putTag(registry: string, repository: string, tag: string, row: TagRow): void {
    this.transaction(() => {
      this.#run(
        'INSERT OR REPLACE INTO tag (registry, repository, tag, digest, media_type, size_bytes, resolved_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
        registry,
        repository,
        tag,
        row.digest,
        row.mediaType,
        row.sizeBytes,
        row.resolvedAtMs,
      );
      this.#run(
        'DELETE FROM tag WHERE resolved_at_ms < (SELECT resolved_at_ms FROM tag ORDER BY resolved_at_ms DESC LIMIT 1 OFFSET ?)',
        MAX_TAGS,
      );
    });
  }

  [Symbol.dispose](): void {
    if (!this.#database.isOpen) return;
    this.#noteTouched();
    this.#database.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #get(sql: string, ...values: (string | number | null | Uint8Array)[]): unknown {
    return translated(() => this.#statement(sql).get(...values));
  }

  #all(sql: string, ...values: (string | number | null | Uint8Array)[]): unknown[] {
    return translated(() => this.#statement(sql).all(...values));
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]): void {
    translated(() => this.#statement(sql).run(...values));
  }
}

function toContent(row: unknown): ContentRow | undefined {
  if (row === undefined) return undefined;
  const columns = row as Record<'digest' | 'kind', string> &
    Record<'size_bytes' | 'complete' | 'verified' | 'last_use_ms', number> &
    Record<'media_type' | 'pieces_table' | 'table_digest', string | null>;
  return {
    digest: columns.digest as Digest,
    kind: columns.kind as ContentKind,
    sizeBytes: columns.size_bytes,
    mediaType: columns.media_type,
    complete: columns.complete === 1,
    verified: columns.verified === 1,
    lastUseMs: columns.last_use_ms,
    piecesTable: columns.pieces_table as Digest | null,
    table: columns.table_digest as Digest | null,
  };
}

function translated<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') throw error;
    const message = `the store’s index: ${error.message}`;
    switch (error.errcode & 0xff) {
      case SQLITE.busy:
        throw new DrakkarError('busy', 'another daemon uses this state directory', {
          hint: 'stop the other daemon, or give this one a directory of its own',
          cause: error,
        });
      case SQLITE.full:
        throw new DrakkarError('no_space', message, {
          hint: 'free space on the disk of the state directory',
          cause: error,
        });
      case SQLITE.readOnly:
      case SQLITE.cannotOpen:
        throw new DrakkarError('forbidden', message, {
          hint: 'check that the state directory is writable by the user that runs Drakkar',
          cause: error,
        });
      case SQLITE.corrupt:
      case SQLITE.notADatabase:
        throw new DrakkarError('invalid_content', message, {
          hint: 'remove index.sqlite: the content goes with it and is fetched again when it is needed',
          cause: error,
        });
      default:
        throw new DrakkarError('unavailable', message, {
          hint: 'check the disk of the state directory',
          cause: error,
        });
    }
  }
}
