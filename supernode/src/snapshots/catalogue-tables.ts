import type { DatabaseSync } from 'node:sqlite';
import { fromBinary } from '@bufbuild/protobuf';
import { parseRepository, SnapshotMessageSchema } from '@drakkar/protocol';

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

function hasColumn(database: DatabaseSync, table: string, column: string): boolean {
  const found = database.prepare('SELECT 1 FROM pragma_table_info(?) WHERE name = ?').get(table, column);
  return found !== undefined;
}

/** The tables as this version has them, whatever was there before; within a transaction. */
export function prepareTables(database: DatabaseSync): void {
  migrate(database);
  database.exec(TABLE + INDEXES);
  if (!hasColumn(database, 'snapshot_blobs', 'blob')) database.exec(BLOBS);
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
export function repositoryOf(message: Uint8Array): string {
  try {
    return parseRepository(fromBinary(SnapshotMessageSchema, message).repository).repository;
  } catch {
    return '';
  }
}
