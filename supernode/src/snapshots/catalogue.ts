import { DatabaseSync } from 'node:sqlite';
import { fromBinary } from '@bufbuild/protobuf';
import { type Digest, type PeerId, parseRepository, SnapshotMessageSchema } from '@drakkar/protocol';
import type { BlobSize } from '../swarm/swarm.ts';
import type { Announced } from './announced.ts';

/** A snapshot that the cluster knows. */
export interface KnownSnapshot extends Announced {
  /** Who said so. */
  readonly announcer: PeerId;
  /** The registry has its blobs, too. */
  readonly pushed: boolean;
  /** The encoded `Snapshot`, as it was announced. */
  readonly message: Uint8Array;
}

/** As it stands in lists. */
export interface ListedSnapshot extends Omit<KnownSnapshot, 'message'> {
  readonly repository: string;
  readonly usedAtMs: number;
}

export interface CatalogueOptions {
  /** Snapshots; the one that was asked for longest ago goes first, as with bytes. */
  readonly maxSnapshots: number;
  /** Of all messages. */
  readonly maxBytes: number;
  /** Nobody has asked for it for so long: it goes. */
  readonly keepMs: number;
}

/** The message comes last: what stands before it is read without it. */
const TABLE = `
  CREATE TABLE IF NOT EXISTS snapshots (
    id INTEGER PRIMARY KEY,
    registry TEXT NOT NULL,
    root TEXT NOT NULL,
    platform TEXT NOT NULL,
    manifest TEXT NOT NULL,
    envelope TEXT NOT NULL,
    builder TEXT NOT NULL,
    layout TEXT NOT NULL,
    announcer TEXT NOT NULL,
    pushed INTEGER NOT NULL,
    blobs TEXT NOT NULL,
    used_at_ms INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    repository TEXT NOT NULL,
    message BLOB NOT NULL,
    UNIQUE (registry, root, platform)
  ) STRICT;
`;

const INDEXES = `
  CREATE INDEX IF NOT EXISTS by_manifest ON snapshots (registry, manifest, platform);
  CREATE INDEX IF NOT EXISTS by_manifest_alone ON snapshots (manifest);
  CREATE INDEX IF NOT EXISTS by_layout ON snapshots (layout);
  CREATE INDEX IF NOT EXISTS by_announcer ON snapshots (announcer, used_at_ms, size_bytes);
  CREATE INDEX IF NOT EXISTS by_use ON snapshots (used_at_ms, size_bytes);
`;

/** Which snapshots have a blob. */
const BLOBS = `
  CREATE TABLE snapshot_blobs (
    blob TEXT NOT NULL,
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    PRIMARY KEY (blob, snapshot)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX blobs_by_snapshot ON snapshot_blobs (snapshot);
  INSERT OR IGNORE INTO snapshot_blobs
    SELECT json_each.value ->> '$.name.digest', snapshots.id FROM snapshots, json_each(snapshots.blobs);
`;

const LISTED =
  'id, registry, root, platform, manifest, envelope, builder, layout, announcer, pushed, blobs, used_at_ms, repository';

/** No host's announcements drive out more than this part of everybody's. */
const LARGEST_SHARE = 1 / 4;

const MAX_SHARING = 20;

/** Use is noted no more often than this: a burst of starts is no burst of writes. */
const USE_INTERVAL_MS = 60_000;

interface ListedRow {
  id: number;
  registry: string;
  root: string;
  platform: string;
  manifest: string;
  envelope: string;
  builder: string;
  layout: string;
  announcer: string;
  pushed: number;
  blobs: string;
  used_at_ms: number;
  repository: string;
}

interface Row extends ListedRow {
  message: Uint8Array;
}

/** What snapshots the hosts of a cluster have, in `<state>/snapshots.sqlite`. */
export class SnapshotCatalogue implements Disposable {
  readonly #database: DatabaseSync;
  readonly #options: CatalogueOptions;

  constructor(path: string, options: CatalogueOptions) {
    this.#options = options;
    this.#database = new DatabaseSync(path);
    // What is lost in a power cut is announced again.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.#atomically(() => {
      migrate(this.#database);
      this.#database.exec(TABLE + INDEXES);
      if (!hasColumn(this.#database, 'snapshot_blobs', 'blob')) this.#database.exec(BLOBS);
    });
  }

  get size(): number {
    return Number(this.#database.prepare('SELECT count(*) AS count FROM snapshots').get()?.count);
  }

  /** Replaces what was known under the same name. */
  put(snapshot: KnownSnapshot, nowMs: number): void {
    const { registry, root, platform, manifest, envelope, builder, layout } = snapshot;
    const { announcer, pushed, blobs, message } = snapshot;
    const names = [registry, root, platform, manifest, envelope, builder, layout, announcer];
    this.#atomically(() => {
      const { lastInsertRowid } = this.#database
        .prepare(`INSERT OR REPLACE INTO snapshots VALUES (NULL${', ?'.repeat(14)})`)
        .run(
          ...names,
          pushed ? 1 : 0,
          JSON.stringify(blobs),
          nowMs,
          message.length,
          repositoryOf(message),
          message,
        );
      const add = this.#database.prepare('INSERT OR IGNORE INTO snapshot_blobs VALUES (?, ?)');
      for (const { name } of blobs) add.run(name.digest, lastInsertRowid);
      this.#makeRoom('announcer = ?', LARGEST_SHARE, announcer);
      this.#makeRoom('TRUE', 1);
    });
  }

  /** The snapshot of what a tag means, or of a manifest, for a platform. */
  find(registry: string, root: Digest, platform: string, nowMs: number): KnownSnapshot | undefined {
    const row =
      this.#row('registry = ? AND root = ? AND platform = ?', registry, root, platform) ??
      this.#row('registry = ? AND manifest = ? AND platform = ?', registry, root, platform);
    if (row === undefined) return undefined;
    if (nowMs - row.used_at_ms >= USE_INTERVAL_MS) {
      this.#database.prepare('UPDATE snapshots SET used_at_ms = ? WHERE id = ?').run(nowMs, row.id);
    }
    return snapshotOf(row);
  }

  findManifest(registry: string, manifest: Digest): KnownSnapshot | undefined {
    const row = this.#row('registry = ? AND manifest = ?', registry, manifest);
    return row && snapshotOf(row);
  }

  /** In the order in which they became known, a page at a time. */
  page({ after = '0', limit }: { readonly after?: string | undefined; readonly limit: number }): {
    readonly items: ListedSnapshot[];
    readonly next: string | null;
  } {
    const rows = this.#database
      .prepare(`SELECT ${LISTED} FROM snapshots WHERE id > ? ORDER BY id LIMIT ?`)
      .all(Number(after) || 0, limit + 1) as unknown as ListedRow[];
    const shown = rows.slice(0, limit);
    return { items: shown.map(listedOf), next: rows.length > limit ? String(shown.at(-1)?.id) : null };
  }

  /** Of whichever registry. */
  findAny(manifest: Digest): (KnownSnapshot & ListedSnapshot) | undefined {
    const row = this.#row('manifest = ?', manifest);
    return row && { ...listedOf(row), message: row.message };
  }

  /** Others that use a blob, the last ones used first. */
  sharing(blob: Digest, except: Digest): { readonly repository: string; readonly manifest: Digest }[] {
    const rows = this.#database
      .prepare(
        `SELECT repository, manifest FROM snapshot_blobs JOIN snapshots ON id = snapshot
          WHERE blob = ? AND manifest <> ? ORDER BY used_at_ms DESC LIMIT ?`,
      )
      .all(blob, except, MAX_SHARING) as unknown as { repository: string; manifest: Digest }[];
    return rows.map(({ repository, manifest }) => ({ repository, manifest }));
  }

  /** Whether anybody may be given a snapshot of this layout. */
  hasLayout(layout: Digest): boolean {
    return this.#row('layout = ?', layout) !== undefined;
  }

  /** @returns how many were known */
  drop(registry: string, manifest: Digest): number {
    const { changes } = this.#database
      .prepare('DELETE FROM snapshots WHERE registry = ? AND manifest = ?')
      .run(registry, manifest);
    return Number(changes);
  }

  /** What a host has announced that is a member no longer. @returns how many were known */
  dropOf(announcer: PeerId): number {
    const { changes } = this.#database.prepare('DELETE FROM snapshots WHERE announcer = ?').run(announcer);
    return Number(changes);
  }

  /** Of repositories, those that nobody has asked for since a time. @returns how many went */
  forgetUnused(isOf: (registry: string, repository: string) => boolean, sinceMs: number): number {
    const old = this.#database
      .prepare('SELECT id, registry, repository FROM snapshots WHERE used_at_ms < ?')
      .all(sinceMs) as unknown as Pick<Row, 'id' | 'registry' | 'repository'>[];
    const going = old.filter(({ registry, repository }) => isOf(registry, repository));
    const drop = this.#database.prepare('DELETE FROM snapshots WHERE id = ?');
    this.#atomically(() => {
      for (const { id } of going) drop.run(id);
    });
    return going.length;
  }

  expire(nowMs: number): void {
    this.#database.prepare('DELETE FROM snapshots WHERE used_at_ms < ?').run(nowMs - this.#options.keepMs);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #atomically(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#database.exec('COMMIT');
    } catch (error) {
      // A full disk has undone it already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #row(where: string, ...values: readonly string[]): Row | undefined {
    const found = this.#database.prepare(`SELECT * FROM snapshots WHERE ${where} LIMIT 1`);
    return found.get(...values) as unknown as Row | undefined;
  }

  /** Of some, those that were asked for longest ago go, until they take no more than a share of all. */
  #makeRoom(where: string, share: number, ...values: readonly string[]): void {
    const { maxSnapshots, maxBytes } = this.#options;
    const sum = this.#database.prepare(
      `SELECT count(*) AS count, sum(size_bytes) AS bytes FROM snapshots WHERE ${where}`,
    );
    const oldest = `SELECT id FROM snapshots WHERE ${where} ORDER BY used_at_ms, id LIMIT 1`;
    for (;;) {
      const { count, bytes } = sum.get(...values) ?? {};
      if (Number(count) <= maxSnapshots * share && Number(bytes ?? 0) <= maxBytes * share) return;
      this.#database.prepare(`DELETE FROM snapshots WHERE id = (${oldest})`).run(...values);
    }
  }
}

function hasColumn(database: DatabaseSync, table: string, column: string): boolean {
  const found = database.prepare('SELECT 1 FROM pragma_table_info(?) WHERE name = ?').get(table, column);
  return found !== undefined;
}

/**
 * What an earlier version has written had no ids of its own, and row numbers are others in a copy (`VACUUM INTO`); and which repository a snapshot is of stood
 * in its message alone.
 */
function migrate(database: DatabaseSync): void {
  const isThere = hasColumn(database, 'snapshots', 'manifest');
  if (!isThere || hasColumn(database, 'snapshots', 'repository')) return;
  database.function('repository_of', { deterministic: true }, (message) =>
    message instanceof Uint8Array ? repositoryOf(message) : '',
  );
  database.exec(`
    ALTER TABLE snapshots RENAME TO snapshots_before;
    ${TABLE}
    INSERT INTO snapshots
      SELECT rowid, registry, root, platform, manifest, envelope, builder, layout, announcer, pushed, blobs,
        used_at_ms, size_bytes, repository_of(message), message
      FROM snapshots_before;
    DROP TABLE snapshots_before;
  `);
}

/** Of an encoded `Snapshot`, where it names one; it was checked when it was announced. */
function repositoryOf(message: Uint8Array): string {
  try {
    return parseRepository(fromBinary(SnapshotMessageSchema, message).repository).repository;
  } catch {
    return '';
  }
}

function snapshotOf(row: Row): KnownSnapshot {
  const { repository: _, usedAtMs: __, ...known } = listedOf(row);
  return { ...known, message: row.message };
}

function listedOf(row: ListedRow): ListedSnapshot {
  return {
    registry: row.registry,
    platform: row.platform,
    root: row.root as Digest,
    manifest: row.manifest as Digest,
    envelope: row.envelope as Digest,
    builder: row.builder,
    layout: row.layout as Digest,
    announcer: row.announcer as PeerId,
    pushed: row.pushed === 1,
    blobs: JSON.parse(row.blobs) as BlobSize[],
    repository: row.repository,
    usedAtMs: row.used_at_ms,
  };
}
