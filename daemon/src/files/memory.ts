import { DatabaseSync } from 'node:sqlite';
import { type Digest, digestFromHex, digestOf, hexOf } from '@drakkar/protocol';
import { type FileVersion, withoutQuery } from '../upstream/index.ts';

/** A file as it was when it was last fetched. */
export interface KnownFile {
  readonly version: FileVersion;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly seenAtMs: number;
}

export interface RecentFile {
  readonly origin: string;
  /** Of its version. */
  readonly name: Digest | undefined;
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** URLs themselves are not kept: their queries may be signatures. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS file (
    url TEXT PRIMARY KEY,
    shown TEXT NOT NULL,
    name TEXT,
    etag TEXT,
    last_modified TEXT,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS file_by_age ON file (seen_at_ms);
  DROP INDEX IF EXISTS file_by_digest;
  CREATE INDEX IF NOT EXISTS file_by_name ON file (name);
`;
/** Files remembered, at most; those not asked for for longest go first. */
const MAX_FILES = 10_000;

interface Row {
  shown: string;
  name: string | null;
  etag: string | null;
  last_modified: string | null;
  digest: string;
  size_bytes: number;
  seen_at_ms: number;
}

/** What this host knows of files that it has fetched, in `<state>/files.sqlite`. Losing it costs no more than reading them again. */
export class FileMemory implements Disposable {
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.#database.exec(SCHEMA);
  }

  find(url: URL): KnownFile | undefined {
    const row = this.#database.prepare('SELECT * FROM file WHERE url = ?').get(keyOf(url));
    if (row === undefined) return undefined;
    const { etag, last_modified, digest, size_bytes: sizeBytes, seen_at_ms } = row as unknown as Row;
    const version = { etag, lastModified: last_modified, sizeBytes };
    return { version, digest: digestFromHex(digest), sizeBytes, seenAtMs: seen_at_ms };
  }

  /** @param name of this version, under which it may have been read while nobody knew its digest */
  put(url: URL, { version, digest, sizeBytes, seenAtMs }: KnownFile, name?: Digest): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        keyOf(url),
        withoutQuery(url),
        name === undefined ? null : hexOf(name),
        version.etag,
        version.lastModified,
        hexOf(digest),
        sizeBytes,
        seenAtMs,
      );
    this.#database
      .prepare(
        'DELETE FROM file WHERE seen_at_ms < (SELECT seen_at_ms FROM file ORDER BY seen_at_ms DESC LIMIT 1 OFFSET ?)',
      )
      .run(MAX_FILES);
  }

  forget(url: URL): void {
    this.#database.prepare('DELETE FROM file WHERE url = ?').run(keyOf(url));
  }

  /** The last ones that were fetched, the newest first. */
  recent(limit: number): RecentFile[] {
    const rows = this.#database.prepare('SELECT * FROM file ORDER BY seen_at_ms DESC LIMIT ?').all(limit);
    return (rows as unknown as Row[]).map(({ shown, name, digest, size_bytes: sizeBytes }) => ({
      origin: new URL(shown).origin,
      name: name === null ? undefined : digestFromHex(name),
      digest: digestFromHex(digest),
      sizeBytes,
    }));
  }

  /** What was read under a name while nobody knew its digest. */
  named(name: Digest): Digest | undefined {
    const row = this.#database.prepare('SELECT * FROM file WHERE name = ?').get(hexOf(name));
    return row === undefined ? undefined : digestFromHex((row as unknown as Row).digest);
  }

  /** Where content was fetched from, for people. */
  shown(): ReadonlyMap<Digest, string> {
    const rows = this.#database.prepare('SELECT * FROM file ORDER BY seen_at_ms').all() as unknown as Row[];
    return new Map(rows.map(({ digest, shown }) => [digestFromHex(digest), shown]));
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

function keyOf(url: URL): string {
  return hexOf(digestOf(url.href));
}
