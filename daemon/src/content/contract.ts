import type { Digest, NamedPieceTable, PieceTable } from '@drakkar/protocol';
import type { BlobRange, BlobStream, Caller, RepositoryName } from '../upstream/index.ts';
import type { ReceiptCounter } from './receipt.ts';

/** Where a blob is had when neither the store nor other hosts have it. */
export interface BlobSource {
  /** The registry or web server, as the swarm and the store name it. It says who may have the blob. */
  readonly origin: string;
  readonly kind: 'registry' | 'server';
  /** For messages: `docker.io/library/debian: blob sha256:…`. */
  readonly what: string;
  /** Two requests with the same one fail alike. */
  readonly key: string;
  /** Asks upstream whether it would give the blob, and how large that is; `undefined` where it does not tell. */
  size(signal: AbortSignal): Promise<number | undefined>;
  open(range: BlobRange, signal: AbortSignal): Promise<BlobStream>;
}

interface BlobWanted {
  readonly digest: Digest;
  /** As a manifest said; what upstream says must agree. */
  readonly sizeBytes?: number | undefined;
}

/** A blob of a registry. */
export interface RegistryBlobRequest extends BlobWanted {
  readonly image: RepositoryName;
  /** On whose behalf upstream is asked; the daemon's own when absent. */
  readonly caller?: Caller;
}

/** A blob of something else. */
export interface SourceBlobRequest extends BlobWanted {
  readonly source: BlobSource;
  /**
   * Nobody knows the digest yet: the one in the request only stands for what is on its way, and other hosts are not asked. Called when
   * the bytes have said it.
   */
  readonly whenNamed?: (digest: Digest, sizeBytes: number) => void;
}

/** Which blob, and where it may be had. */
export type BlobRequest = RegistryBlobRequest | SourceBlobRequest;

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Asked, and must not throw, before content is handed over that this request has not itself just been given by upstream: because
   * the store has it, or somebody else's download is joined.
   */
  readonly authorize?: (() => Promise<void>) | undefined;
  /** Returns when so many bytes may come, of a download that this begins. */
  readonly pass?: Pass | undefined;
}

/** @throws when nobody waits for the bytes any more */
export type Pass = (bytes: number, signal: AbortSignal) => Promise<void>;

export interface ReceivedOptions extends OpenOptions {
  /** Counts what a download brings that this begins. */
  readonly receipt?: ReceiptCounter;
}

/** Bytes that came from registries, whatever has become of them. */
export interface Traffic {
  upstreamBytes: number;
}

/** A blob that is here or is arriving. */
export interface OpenedBlob extends AsyncDisposable {
  readonly sizeBytes: number;
  readonly mediaType: string | null;
  readonly source: 'store' | 'arriving';
  /**
   * Fills `buffer` as far as bytes are here, and waits where none is yet. The last byte comes only after the whole digest
   * matched. @returns how many bytes were read: 0 at the end
   */
  read(buffer: Uint8Array, position: number): Promise<number>;
}

export interface ReadOptions extends OpenOptions {
  readonly startBytes?: number;
  readonly endBytes?: number;
}

export interface FetchOptions extends OpenOptions {
  /** Called with each number of bytes that has arrived. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Called when the size is known. */
  readonly onSize?: ((sizeBytes: number) => void) | undefined;
}

/** A blob of which single pieces are had as they are wanted. Its registry has authorised the caller for whatever names it. */
export type PieceBlobRequest = RegistryBlobRequest & { readonly sizeBytes: number };

export interface WantOptions {
  /** Somebody waits for them: they are fetched before anything else. */
  readonly urgent: boolean;
  readonly signal: AbortSignal;
}

export interface CompleteOptions {
  readonly signal: AbortSignal;
  /** Returns when so many bytes may be asked for, which nobody has wanted. */
  pass?(bytes: number): Promise<void>;
}

/** A blob of which single pieces are had as they are wanted: what a lazy volume is filled from. */
export interface PieceBlob extends AsyncDisposable {
  readonly table: PieceTable;
  /** Pieces that are here. */
  readonly presentPieces: number;
  /** Where each piece that is here lies at its place in the blob. Stays as long as this is open, or somebody pins the digest. */
  readonly path: string;
  has(piece: number): boolean;
  /**
   * Returns when all of these are verified and readable in the file at `path`. Urgent ones are fetched before anything else; others in
   * this order. @throws why one cannot be had: `unavailable`, `timeout`, `no_space`, `invalid_content`, … The others come all the same,
   * and one that is wanted again is tried again.
   */
  want(pieces: readonly number[], options: WantOptions): Promise<void>;
  /**
   * Fetches everything that is missing, behind whatever is wanted, and verifies the whole digest. It is complete in the store when
   * this returns. @throws as {@link want}
   */
  complete(options: CompleteOptions): Promise<void>;
}

/** Blobs, each downloaded once however many read it. */
export interface Content extends AsyncDisposable {
  /** What all downloads since the start have brought. */
  readonly traffic: Readonly<Traffic>;
  /** Blobs that are on their way. */
  readonly downloads: number;
  open(request: BlobRequest, options?: ReceivedOptions): Promise<OpenedBlob>;
  /** What is here, or on its way for somebody else; asks nobody for anything. @throws `not_found` */
  openHere(digest: Digest, options?: Pick<OpenOptions, 'signal'>): Promise<OpenedBlob>;
  /**
   * The bytes, or a range of them, as they arrive; ends only if the whole digest matched. What a download brings is counted
   * once, for the request that began it.
   */
  read(
    request: BlobRequest,
    receipt: ReceiptCounter,
    options?: ReadOptions,
  ): AsyncGenerator<Buffer, void, undefined>;
  /** Makes it complete in the store. @returns the digest under which it is there */
  fetch(request: BlobRequest, receipt: ReceiptCounter, options?: FetchOptions): Promise<Digest>;
  /** A piece table, which is fetched where it is not here. @throws `invalid_content` for what is none */
  pieceTable(request: PieceBlobRequest, receipt: ReceiptCounter, options?: FetchOptions): Promise<PieceTable>;
  /**
   * Single pieces of a blob that is cut by a trusted table, from the store, other hosts or its registry. Who opens the same blob again
   * shares what comes. @throws `invalid_argument` where it is another blob's table; `no_space`
   */
  openPieces(request: PieceBlobRequest, table: NamedPieceTable, receipt: ReceiptCounter): Promise<PieceBlob>;
  /**
   * Other hosts may have a complete blob, as a whole or piece by piece, and the trusted table that cuts it; under the name of a registry
   * that gave both or was given them. Does nothing where one of the two is not here.
   */
  offerPieces(image: RepositoryName, digest: Digest, table: Digest): Promise<void>;
  /** Other hosts may have a complete blob under the name of a registry, as with {@link offerPieces}. Does nothing where it is not here. */
  offer(image: RepositoryName, digest: Digest): void;
  /** Whether a blob is on its way. */
  isArriving(digest: Digest): boolean;
  /** Ends all downloads; what they have is kept. */
  close(): Promise<void>;
}
