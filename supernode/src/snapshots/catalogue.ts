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

export interface CatalogueOptions {
  /** Snapshots; the one that was asked for longest ago goes first, as with bytes. */
  readonly maxSnapshots: number;
  /** Of all messages. */
  readonly maxBytes: number;
  /** Nobody has asked for it for so long: it goes. */
  readonly keepMs: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS snapshots (
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
    message BLOB NOT NULL,
    UNIQUE (registry, root, platform)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS by_manifest ON snapshots (registry, manifest, platform);
  CREATE INDEX IF NOT EXISTS by_layout ON snapshots (layout);
  CREATE INDEX IF NOT EXISTS by_announcer ON snapshots (announcer, used_at_ms, size_bytes);
  CREATE INDEX IF NOT EXISTS by_use ON snapshots (used_at_ms, size_bytes);
`;

/** No host's announcements drive out more than this part of everybody's. */
const LARGEST_SHARE = 1 / 4;

const MAX_SHARING = 20;

/** Use is noted no more often than this: a burst of starts is no burst of writes. */
const USE_INTERVAL_MS = 60_000;

interface Row {
  rowid: number;
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
    this.#database.exec(SCHEMA);
  }

  get size(): number {
    return Number(this.#database.prepare('SELECT count(*) AS count FROM snapshots').get()?.count);
  }

  /** Replaces what was known under the same name. */
  put(snapshot: KnownSnapshot, nowMs: number): void {
    const { registry, root, platform, manifest, envelope, builder, layout } = snapshot;
    const { announcer, pushed, blobs, message } = snapshot;
    const names = [registry, root, platform, manifest, envelope, builder, layout, announcer];
    this.#database
      .prepare('INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(...names, pushed ? 1 : 0, JSON.stringify(blobs), nowMs, message.length, message);
    this.#makeRoom('announcer = ?', LARGEST_SHARE, announcer);
    this.#makeRoom('TRUE', 1);
  }

  /** The snapshot of what a tag means, or of a manifest, for a platform. */
  find(registry: string, root: Digest, platform: string, nowMs: number): KnownSnapshot | undefined {
    const row =
      this.#row('registry = ? AND root = ? AND platform = ?', registry, root, platform) ??
      this.#row('registry = ? AND manifest = ? AND platform = ?', registry, root, platform);
    if (row === undefined) return undefined;
    if (nowMs - row.used_at_ms >= USE_INTERVAL_MS) {
      this.#database.prepare('UPDATE snapshots SET used_at_ms = ? WHERE rowid = ?').run(nowMs, row.rowid);
    }
    return snapshotOf(row);
  }

  findManifest(registry: string, manifest: Digest): KnownSnapshot | undefined {
    const row = this.#row('registry = ? AND manifest = ?', registry, manifest);
    return row && snapshotOf(row);
  }

  /** In the order in which they became known, a page at a time. */
  page({ after = '0', limit }: { readonly after?: string | undefined; readonly limit: number }): {
    readonly items: (KnownSnapshot & { readonly usedAtMs: number })[];
    readonly next: string | null;
  } {
    const rows = this.#database
      .prepare('SELECT rowid, * FROM snapshots WHERE rowid > ? ORDER BY rowid LIMIT ?')
      .all(Number(after) || 0, limit + 1) as unknown as Row[];
    const shown = rows.slice(0, limit);
    const items = shown.map((row) => ({ ...snapshotOf(row), usedAtMs: row.used_at_ms }));
    return { items, next: rows.length > limit ? String(shown.at(-1)?.rowid) : null };
  }

  /** Of whichever registry. */
  findAny(manifest: Digest): (KnownSnapshot & { readonly usedAtMs: number }) | undefined {
    const row = this.#row('manifest = ?', manifest);
    return row && { ...snapshotOf(row), usedAtMs: row.used_at_ms };
  }

  /** Others that use a blob, the last ones used first. */
  sharing(blob: Digest, except: Digest): KnownSnapshot[] {
    const rows = this.#database
      .prepare(
        'SELECT rowid, * FROM snapshots WHERE manifest <> ? AND instr(blobs, ?) > 0 ORDER BY used_at_ms DESC LIMIT ?',
      )
      .all(except, blob, MAX_SHARING) as unknown as Row[];
    return rows.map(snapshotOf);
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
      .prepare('SELECT rowid, * FROM snapshots WHERE used_at_ms < ?')
      .all(sinceMs) as unknown as Row[];
    const going = old.filter(({ registry, message }) => {
      const { repository } = fromBinary(SnapshotMessageSchema, message);
      return isOf(registry, parseRepository(repository).repository);
    });
    for (const { rowid } of going) this.#database.prepare('DELETE FROM snapshots WHERE rowid = ?').run(rowid);
    return going.length;
  }

  expire(nowMs: number): void {
    this.#database.prepare('DELETE FROM snapshots WHERE used_at_ms < ?').run(nowMs - this.#options.keepMs);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #row(where: string, ...values: readonly string[]): Row | undefined {
    const found = this.#database.prepare(`SELECT rowid, * FROM snapshots WHERE ${where} LIMIT 1`);
    return found.get(...values) as unknown as Row | undefined;
  }

  /** Of some, those that were asked for longest ago go, until they take no more than a share of all. */
  #makeRoom(where: string, share: number, ...values: readonly string[]): void {
    const { maxSnapshots, maxBytes } = this.#options;
    const sum = this.#database.prepare(
      `SELECT count(*) AS count, sum(size_bytes) AS bytes FROM snapshots WHERE ${where}`,
    );
    const oldest = `SELECT rowid FROM snapshots WHERE ${where} ORDER BY used_at_ms, rowid LIMIT 1`;
    for (;;) {
      const { count, bytes } = sum.get(...values) ?? {};
      if (Number(count) <= maxSnapshots * share && Number(bytes ?? 0) <= maxBytes * share) return;
      this.#database.prepare(`DELETE FROM snapshots WHERE rowid = (${oldest})`).run(...values);
    }
  }
}

function snapshotOf(row: Row): KnownSnapshot {
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
    message: row.message,
  };
}
