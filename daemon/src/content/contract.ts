import type { Digest } from '@drakkar/protocol';
import type { Caller, RepositoryName } from '../upstream/index.ts';
import type { ReceiptCounter } from './receipt.ts';

/** Which blob, and where it may be had. */
export interface BlobRequest {
  readonly image: RepositoryName;
  readonly digest: Digest;
  /** As a manifest said; what upstream says must agree. */
  readonly sizeBytes?: number | undefined;
  /** On whose behalf upstream is asked; the daemon's own when absent. */
  readonly caller?: Caller;
}

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Asked, and must not throw, before content is handed over that this request has not itself just been given by upstream: because
   * the store has it, or somebody else's download is joined.
   */
  readonly authorize?: (() => Promise<void>) | undefined;
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
}

/** Blobs, each downloaded once however many read it. */
export interface Content extends AsyncDisposable {
  /** What all downloads since the start have brought. */
  readonly traffic: Readonly<Traffic>;
  /** Blobs that are on their way. */
  readonly downloads: number;
  open(request: BlobRequest, options?: OpenOptions): Promise<OpenedBlob>;
  /**
   * The bytes, or a range of them, as they arrive; ends only if the whole digest matched. What a download brings is counted
   * once, for the request that began it.
   */
  read(
    request: BlobRequest,
    receipt: ReceiptCounter,
    options?: ReadOptions,
  ): AsyncGenerator<Buffer, void, undefined>;
  /** Makes it complete in the store. */
  fetch(request: BlobRequest, receipt: ReceiptCounter, options?: FetchOptions): Promise<void>;
  /** Ends all downloads; what they have is kept. */
  close(): Promise<void>;
}
