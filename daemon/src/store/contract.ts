import type { Digest, NamedPieceTable, PieceTable } from '@drakkar/protocol';
import type { TagRow } from './index-file.ts';
import type { ContentKind } from './layout.ts';
import type { Reservation } from './quota.ts';
import type { ContentWriter } from './writer.ts';

export interface StoredContent {
  readonly digest: Digest;
  readonly kind: ContentKind;
  readonly sizeBytes: number;
  /** Bytes that are durably here; all of them when `complete`. */
  readonly presentBytes: number;
  readonly complete: boolean;
  /** As the registry named it; `null` where nobody asked. */
  readonly mediaType: string | null;
  readonly lastUseMs: number;
  readonly holders: readonly string[];
  /** Registries that have given it; none for what was made here. */
  readonly origins: readonly string[];
  /** A trusted piece table by which others may ask for it, where one is known. */
  readonly table: Digest | null;
}

/** What happened to content that was complete. */
export type ContentRemoved = Pick<StoredContent, 'digest' | 'origins' | 'table'>;

/** Complete content, open for reading. It is not evicted while it is open. */
export interface ContentReader extends AsyncDisposable {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string | null;
  /** @returns how many bytes were read: 0 at the end */
  read(buffer: Uint8Array, position: number): Promise<number>;
}

export interface WriterWanted {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType?: string | undefined;
  /** The registry that gives the bytes. What an earlier writer left is resumed only where it came from the same one. */
  readonly origin: string;
  /**
   * The trusted table by which it is cut. What an earlier writer left is resumed only where it was cut in the same way, and discarded
   * otherwise.
   */
  readonly table?: NamedPieceTable | undefined;
}

export interface StoreUsage {
  readonly quotaBytes: number;
  readonly contentBytes: number;
  readonly reservedBytes: number;
}

export interface OpenContentOptions {
  /**
   * The reader does not keep its content from being evicted: it can go on reading, and whoever listens to {@link Store.onRemoved} is to
   * close it.
   */
  readonly yields?: boolean;
}

/** Content by digest under an exact quota. Errors are {@link DrakkarError}s; none of them leaves the store inconsistent. */
export interface Store extends AsyncDisposable {
  /** Files in the making belong here: on the same disk, and wiped when the store is opened. */
  readonly stagingDirectory: string;
  usage(): StoreUsage;
  list(): StoredContent[];
  stat(digest: Digest): StoredContent | undefined;
  /** Complete and, after an unclean stop, verified: at once, however large it is, unless {@link verify} came before. */
  has(digest: Digest, kind?: ContentKind): boolean;
  /** Reads what an unclean stop has left in doubt of these, while everything else goes on. */
  verify(digests: Iterable<Digest>): Promise<void>;
  /** Path of complete content; stays while somebody pins it. @throws `not_found` */
  pathOf(digest: Digest): string;
  /** @throws `not_found` unless complete */
  open(digest: Digest, options?: OpenContentOptions): Promise<ContentReader>;
  /** The sha256 of every piece of fixed length of a complete blob; made now where it came in as a whole. @throws `not_found` */
  pieceHashes(digest: Digest): Promise<ReadonlyMap<number, Uint8Array>>;
  /** The piece table that a complete blob is. @throws `not_found` | `invalid_content` */
  pieceTable(digest: Digest): Promise<PieceTable>;
  /** Others may ask for the content by this trusted table, which stays as long as the content does. */
  setTable(digest: Digest, table: Digest): void;
  /** Calls back when complete content is gone. */
  onRemoved(removed: (content: ContentRemoved) => void): void;
  /** A blob in the making, from scratch or from what an earlier writer left. @throws `busy` | `already_exists` | `no_space` */
  writer(wanted: WriterWanted): Promise<ContentWriter>;
  /** A small blob, whole, and the registry that gave it. Stores nothing where it is already. @throws `no_space` */
  put(bytes: Uint8Array, mediaType: string, origin?: string): Promise<Digest>;
  /** A registry has given this very content, too. */
  addOrigin(digest: Digest, registry: string): void;
  reserve(purpose: string, bytes?: number): Reservation;
  /**
   * Moves a finished file of the staging directory in and pins it for `holder`; its bytes are taken from the reservation.
   * Where the store has the content already, the file is removed instead, and a blob becomes a volume where that is wanted; where
   * somebody is writing it, this waits for the end, or gives him the pieces that he lacks where he writes them as they are needed.
   */
  adopt(
    path: string,
    digest: Digest,
    sizeBytes: number,
    kind: ContentKind,
    reservation: Reservation,
    holder?: string,
    mediaType?: string,
  ): Promise<void>;
  /**
   * A raw file of this size in which nothing is, for the helper to fill, pinned for `holder`. One that is being filled already stays, and so
   * does a complete one. @throws `no_space`
   */
  prepareVolume(digest: Digest, sizeBytes: number, holder: string): void;
  /** The helper has filled it, and verified the whole. */
  volumeFilled(digest: Digest): void;
  touch(digest: Digest): void;
  /** What a holder pins is not evicted; it may be pinned before it is here. */
  pin(digest: Digest, holder: string): void;
  /** Everything that a holder pins. */
  unpin(holder: string): void;
  holders(): string[];
  /** @throws `busy` while it is pinned, read or written */
  remove(digest: Digest): void;
  findTag(registry: string, repository: string, tag: string): TagRow | undefined;
  putTag(registry: string, repository: string, tag: string, row: TagRow): void;
  /** Ends when everything that an unclean stop left has been verified. */
  readonly verified: Promise<void>;
  /** Writers are stopped, and the next start trusts what is here. */
  close(): Promise<void>;
}
