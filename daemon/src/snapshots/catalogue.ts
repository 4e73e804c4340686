import { DatabaseSync } from 'node:sqlite';
import {
  type Digest,
  digestFromHex,
  hexOf,
  parseReference,
  type Repository,
  type SnapshotConfig,
} from '@drakkar/protocol';
import type { DeviceSource } from '../fill/index.ts';
import type { Source } from './files.ts';

/** A snapshot that this host knows. Whether its files are here is the store's to say. */
export interface SnapshotRecord {
  /** The image manifest that it is a snapshot of. */
  readonly manifestDigest: Digest;
  /** What the name itself meant: an index, or the manifest. */
  readonly rootDigest: Digest;
  /** Canonical reference under which it was last asked for. */
  readonly image: string;
  readonly platform: string;
  /** The image's own config blob: how to run it without asking anybody. */
  readonly imageConfig: Uint8Array;
  /** Compressed bytes of the image's own layers. */
  readonly imageSizeBytes: number;
  readonly config: SnapshotConfig;
  /** The signed config as it travels, and the artifact manifest that names it. */
  readonly envelope: Uint8Array;
  readonly artifact: Uint8Array;
  /** From what the image's name meant to its manifest, each naming the next; none where they were not kept. */
  readonly documents: readonly Uint8Array[];
  /** Public key of the builder who signed it. */
  readonly signer: string;
  readonly origin: 'built' | Source;
  readonly createdAtMs: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS snapshots (
    manifest TEXT PRIMARY KEY,
    root TEXT NOT NULL,
    image TEXT NOT NULL,
    platform TEXT NOT NULL,
    image_config BLOB NOT NULL,
    image_size_bytes INTEGER NOT NULL,
    config TEXT NOT NULL,
    envelope BLOB NOT NULL,
    artifact BLOB NOT NULL,
    signer TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    documents TEXT NOT NULL DEFAULT '[]'
  ) STRICT, WITHOUT ROWID;
`;

interface Row {
  manifest: string;
  root: string;
  image: string;
  platform: string;
  image_config: Uint8Array;
  image_size_bytes: number;
  config: string;
  envelope: Uint8Array;
  artifact: Uint8Array;
  signer: string;
  origin: string;
  created_at_ms: number;
  documents: string;
}

/** The snapshots of this host, in `<state>/snapshots.sqlite`. A record is written last, so what is listed is whole. */
export class Catalogue implements Disposable {
  readonly #database: DatabaseSync;
  #changes = 0;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    this.#database.exec(SCHEMA);
    const columns = this.#database.prepare('PRAGMA table_info(snapshots)').all();
    if (columns.every(({ name }) => name !== 'documents')) {
      this.#database.exec("ALTER TABLE snapshots ADD COLUMN documents TEXT NOT NULL DEFAULT '[]'");
    }
  }

  /** Counted since it was opened. */
  get changes(): number {
    return this.#changes;
  }

  has(manifestDigest: Digest): boolean {
    return (
      this.#database.prepare('SELECT 1 FROM snapshots WHERE manifest = ?').get(hexOf(manifestDigest)) !==
      undefined
    );
  }

  get(manifestDigest: Digest): SnapshotRecord | undefined {
    const row = this.#database
      .prepare('SELECT * FROM snapshots WHERE manifest = ?')
      .get(hexOf(manifestDigest));
    return row === undefined ? undefined : recordOf(row as unknown as Row);
  }

  /** The snapshot for a platform of what a tag points to. */
  find(rootDigest: Digest, platform: string): SnapshotRecord | undefined {
    const row = this.#database
      .prepare('SELECT * FROM snapshots WHERE root = ? AND platform = ?')
      .get(hexOf(rootDigest), platform);
    if (row !== undefined) return recordOf(row as unknown as Row);
    const own = this.get(rootDigest);
    return own?.platform === platform ? own : undefined;
  }

  list(): SnapshotRecord[] {
    const rows = this.#database.prepare('SELECT * FROM snapshots ORDER BY created_at_ms').all();
    return rows.map((row) => recordOf(row as unknown as Row));
  }

  put(record: SnapshotRecord): void {
    this.#changes += 1;
    this.#database
      .prepare('INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        hexOf(record.manifestDigest),
        hexOf(record.rootDigest),
        record.image,
        record.platform,
        record.imageConfig,
        record.imageSizeBytes,
        JSON.stringify(record.config),
        record.envelope,
        record.artifact,
        record.signer,
        record.origin,
        record.createdAtMs,
        JSON.stringify(record.documents.map((bytes) => Buffer.from(bytes).toString('base64'))),
      );
  }

  remove(manifestDigest: Digest): void {
    this.#changes += 1;
    this.#database.prepare('DELETE FROM snapshots WHERE manifest = ?').run(hexOf(manifestDigest));
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

function recordOf(row: Row): SnapshotRecord {
  return {
    manifestDigest: digestFromHex(row.manifest),
    rootDigest: digestFromHex(row.root),
    image: row.image,
    platform: row.platform,
    imageConfig: row.image_config,
    imageSizeBytes: row.image_size_bytes,
    config: JSON.parse(row.config) as SnapshotConfig,
    envelope: row.envelope,
    artifact: row.artifact,
    signer: row.signer,
    origin: row.origin === 'registry' || row.origin === 'cluster' ? row.origin : 'built',
    createdAtMs: row.created_at_ms,
    documents: (JSON.parse(row.documents) as string[]).map((text) => Buffer.from(text, 'base64')),
  };
}

/** The lowest layers of an image alone go by the digest of a manifest that no registry has, and have no next version: see `prefix`. */
export const isPrefix = ({ image, manifestDigest, documents }: SnapshotRecord): boolean =>
  documents.length === 0 && image.endsWith(`@${manifestDigest}`);

/** Those of a repository's images. */
export function ofRepository(
  records: readonly SnapshotRecord[],
  { registry, repository }: Repository,
): SnapshotRecord[] {
  return records.filter(({ image }) => {
    const reference = parseReference(image);
    return reference.registry === registry && reference.repository === repository;
  });
}

/** The newest of a repository's snapshots for a platform that is wanted. */
export function newestOf(
  records: readonly SnapshotRecord[],
  repository: Repository,
  platform: string,
  isWanted: (record: SnapshotRecord) => boolean,
): SnapshotRecord | undefined {
  return ofRepository(records, repository)
    .filter((record) => record.platform === platform && !isPrefix(record) && isWanted(record))
    .reduce<SnapshotRecord | undefined>(
      (newest, record) => (record.createdAtMs >= (newest?.createdAtMs ?? 0) ? record : newest),
      undefined,
    );
}

/** A snapshot that has a device, and where its blocks are had. */
export function findDevice(catalogue: Catalogue, device: Digest): DeviceSource | undefined {
  for (const { config, image } of catalogue.list().reverse()) {
    const file = config.devices.find(({ rawDigest }) => rawDigest === device);
    if (file !== undefined) return { image: parseReference(image), config, file };
  }
  return undefined;
}

/** The snapshot that a volume is of. @param meta hex digits of its meta's raw digest, by which volumes are called */
export function findVolume(catalogue: Catalogue, meta: string): SnapshotConfig | undefined {
  return catalogue.list().find(({ config }) => hexOf(config.meta.rawDigest) === meta)?.config;
}
