import type { DatabaseSync } from 'node:sqlite';
import { fixedCut } from '@drakkar/protocol';

export const SCHEMA_VERSION = 3;

/** Present pieces are rows: a row is the bit and the piece's sha256 in one, so neither can be without the other. */
const CONTENT = `
  CREATE TABLE content (
    digest TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('blob', 'volume')),
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    media_type TEXT,
    complete INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    last_use_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX content_by_use ON content (last_use_ms);
  CREATE TABLE piece (
    digest TEXT NOT NULL REFERENCES content ON DELETE CASCADE,
    piece INTEGER NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (digest, piece)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE pin (
    holder TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (holder, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX pin_by_digest ON pin (digest);
  CREATE TABLE tag (
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    resolved_at_ms INTEGER NOT NULL,
    PRIMARY KEY (registry, repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tag_by_age ON tag (resolved_at_ms);
  CREATE TABLE mark (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/** Which registries have given a content, so that none can vouch for another's. */
const ORIGINS = `
  CREATE TABLE origin (
    digest TEXT NOT NULL REFERENCES content ON DELETE CASCADE,
    registry TEXT NOT NULL,
    PRIMARY KEY (digest, registry)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * Where each recorded piece lies, so that it can be verified whatever it was cut by. `pieces_table` is that piece table, null for a
 * fixed length; `table_digest` is a trusted one by which others may ask for the content.
 */
const CUTS = `
  ALTER TABLE content ADD COLUMN pieces_table TEXT;
  ALTER TABLE content ADD COLUMN table_digest TEXT;
  ALTER TABLE piece ADD COLUMN start_bytes INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE piece ADD COLUMN end_bytes INTEGER NOT NULL DEFAULT 0;
`;

/** What leads from each version to the next; the first from nothing. */
const STEPS: readonly ((database: DatabaseSync) => void)[] = [
  (database) => database.exec(CONTENT),
  (database) => database.exec(ORIGINS),
  (database) => {
    database.exec(CUTS);
    placeFixedPieces(database);
  },
];

/** Brings an index of an earlier version, or an empty one, to this. Belongs into a transaction. */
export function upgrade(database: DatabaseSync, version: number): void {
  for (const step of STEPS.slice(version)) step(database);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

function placeFixedPieces(database: DatabaseSync): void {
  const contents = database.prepare('SELECT digest, size_bytes FROM content').all();
  const pieces = database.prepare('SELECT piece FROM piece WHERE digest = ?');
  const place = database.prepare(
    'UPDATE piece SET start_bytes = ?, end_bytes = ? WHERE digest = ? AND piece = ?',
  );
  for (const { digest, size_bytes: sizeBytes } of contents as { digest: string; size_bytes: number }[]) {
    const cut = fixedCut(sizeBytes);
    for (const { piece } of pieces.all(digest) as { piece: number }[]) {
      place.run(cut.start(piece), cut.end(piece), digest, piece);
    }
  }
}
