import { DatabaseSync } from 'node:sqlite';
import type { Digest, PeerId } from '@drakkar/protocol';
import type { BlobSize } from '../swarm/swarm.ts';
import type { Announced } from './announced.ts';
import { prepareTables, repositoryOf } from './catalogue-tables.ts';

/** A snapshot that the cluster knows. */
export interface KnownSnapshot extends Announced {
  /** Who said so. */
  readonly announcer: PeerId;
  /** The registry has its blobs, too. */
  readonly pushed: boolean;
  /** The encoded `Snapshot`, as it was announced. */
  readonly message: Uint8Array;
}

/** By which it is found; no two have the same. */
export type SnapshotName = Pick<Announced, 'registry' | 'root' | 'platform'>;

/** Told of what has changed here. */
export interface CatalogueEvents {
  put(snapshot: KnownSnapshot, usedAtMs: number): void;
  /** It was asked for after a while. */
  used(snapshot: KnownSnapshot, usedAtMs: number): void;
  removed(name: SnapshotName): void;
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
  /** Nobody is told where nobody else has it, too. */
  events: CatalogueEvents | undefined;

  constructor(path: string, options: CatalogueOptions) {
    this.#options = options;
    this.#database = new DatabaseSync(path);
    // What is lost in a power cut is announced again.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.#atomically(() => prepareTables(this.#database));
  }

  get size(): number {
    return Number(this.#database.prepare('SELECT count(*) AS count FROM snapshots').get()?.count);
  }

  /** Replaces what was known under the same name. */
  put(snapshot: KnownSnapshot, nowMs: number): void {
    this.#write(snapshot, nowMs);
    this.events?.put(snapshot, nowMs);
  }

  /** As {@link put}, what another supernode has told: nobody is told of it again. */
  take(snapshot: KnownSnapshot, usedAtMs: number): void {
    const { registry, root, platform, announcer, pushed, message } = snapshot;
    const row = this.#row('registry = ? AND root = ? AND platform = ?', registry, root, platform);
    const isKnown =
      row?.announcer === announcer &&
      row.pushed === (pushed ? 1 : 0) &&
      Buffer.compare(row.message, message) === 0;
    if (!isKnown) this.#write(snapshot, usedAtMs);
    else if (usedAtMs > row.used_at_ms) this.#used(row.id, usedAtMs);
  }

  /** Of all that a tag or an index means. */
  namesOf(root: Digest): SnapshotName[] {
    return this.#database
      .prepare('SELECT registry, root, platform FROM snapshots WHERE root = ?')
      .all(root) as unknown as SnapshotName[];
  }

  /** What another supernode has forgotten. */
  discard({ registry, root, platform }: SnapshotName): void {
    this.#database
      .prepare('DELETE FROM snapshots WHERE registry = ? AND root = ? AND platform = ?')
      .run(registry, root, platform);
  }

  /** All of them, as they are now. */
  *all(): Generator<{ readonly snapshot: KnownSnapshot; readonly usedAtMs: number }> {
    for (let after = 0; ; ) {
      const row = this.#database
        .prepare('SELECT * FROM snapshots WHERE id > ? ORDER BY id LIMIT 1')
        .get(after) as unknown as Row | undefined;
      if (row === undefined) return;
      after = row.id;
      yield { snapshot: snapshotOf(row), usedAtMs: row.used_at_ms };
    }
  }

  #write(snapshot: KnownSnapshot, usedAtMs: number): void {
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
          usedAtMs,
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
    const found = snapshotOf(row);
    if (nowMs - row.used_at_ms >= USE_INTERVAL_MS) {
      this.#used(row.id, nowMs);
      this.events?.used(found, nowMs);
    }
    return found;
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
    return this.#remove('registry = ? AND manifest = ?', registry, manifest);
  }

  /** What a host has announced that is a member no longer. @returns how many were known */
  dropOf(announcer: PeerId): number {
    return this.#remove('announcer = ?', announcer);
  }

  /** Of repositories, those that nobody has asked for since a time. @returns how many went */
  forgetUnused(isOf: (registry: string, repository: string) => boolean, sinceMs: number): number {
    const old = this.#database
      .prepare('SELECT id, registry, repository FROM snapshots WHERE used_at_ms < ?')
      .all(sinceMs) as unknown as Pick<Row, 'id' | 'registry' | 'repository'>[];
    const going = old.filter(({ registry, repository }) => isOf(registry, repository));
    this.#atomically(() => {
      for (const { id } of going) this.#remove('id = ?', id);
    });
    return going.length;
  }

  expire(nowMs: number): void {
    this.#remove('used_at_ms < ?', nowMs - this.#options.keepMs);
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

  /** @returns how many went */
  #remove(where: string, ...values: readonly (string | number)[]): number {
    const gone = this.#database
      .prepare(`DELETE FROM snapshots WHERE ${where} RETURNING registry, root, platform`)
      .all(...values) as unknown as SnapshotName[];
    for (const name of gone) this.events?.removed(name);
    return gone.length;
  }

  #used(id: number, nowMs: number): void {
    this.#database.prepare('UPDATE snapshots SET used_at_ms = ? WHERE id = ?').run(nowMs, id);
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
      this.#remove(`id = (${oldest})`, ...values);
    }
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
