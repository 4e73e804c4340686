import type { Digest, ImageReference, Manifest, Platform, VolumeFile } from '@drakkar/protocol';
import type { NativeHelper } from '../native.ts';

/** An image manifest of one platform, read and verified. */
export interface ResolvedImage {
  readonly manifestDigest: Digest;
  readonly mediaType: string;
  readonly manifestBytes: Uint8Array;
  readonly manifest: Manifest;
}

export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** What snapshots need of a registry. */
export interface Registry {
  /** @throws `not_found`, also where an index has nothing for the platform */
  resolveImage(reference: ImageReference, platform: Platform, options: Abortable): Promise<ResolvedImage>;
  fetchManifest(
    image: ImageReference,
    digest: Digest,
    options: Abortable,
  ): Promise<{ readonly bytes: Uint8Array; readonly mediaType: string }>;
  /** Descriptors of the artifacts of a type that name a manifest as their subject. */
  referrers(
    image: ImageReference,
    subject: Digest,
    artifactType: string,
    options: Abortable,
  ): Promise<Digest[]>;
  pushBlob(
    image: ImageReference,
    digest: Digest,
    sizeBytes: number,
    source: BlobSource,
    options: Abortable,
  ): Promise<void>;
  /** Pushes an artifact manifest, and makes it findable as a referrer of its subject. */
  pushReferrer(image: ImageReference, bytes: Uint8Array, options: Abortable): Promise<void>;
}

export type BlobSource = { readonly path: string } | { readonly bytes: Uint8Array };

/** Which blob, and where it may be had. */
export interface BlobRequest {
  readonly image: ImageReference;
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** Where bytes came from; shared by everything that one pull or start does. */
export interface ReceiptCounter {
  storeBytes: number;
  upstreamBytes: number;
}

/** What snapshots need of the content service: verified blobs, each downloaded once. */
export interface Content {
  /** The blob as it arrives; it ends only if the whole digest matched. */
  read(request: BlobRequest, receipt: ReceiptCounter, options: Abortable): AsyncIterable<Uint8Array>;
  /** Makes it complete in the store. */
  fetch(
    request: BlobRequest,
    receipt: ReceiptCounter,
    options: Abortable & { onBytes?: (bytes: number) => void },
  ): Promise<void>;
}

export interface SpaceReservation extends Disposable {
  /** @throws `no_space` */
  grow(bytes: number): void | Promise<void>;
}

/** What snapshots need of the store. */
export interface Store {
  has(digest: Digest): boolean;
  /** Path of complete content. @throws `not_found` */
  pathOf(digest: Digest): string;
  touch(digest: Digest): void;
  reserve(purpose: string): SpaceReservation;
  /** Moves a finished file of the staging directory in, under what was reserved, and keeps it for `holder`. */
  adopt(
    path: string,
    digest: Digest,
    sizeBytes: number,
    kind: 'blob' | 'volume',
    reservation: SpaceReservation,
    holder: string,
  ): Promise<void>;
  pin(digest: Digest, holder: string): void;
  unpin(holder: string): void;
  holders(): string[];
  remove(digest: Digest): void | Promise<void>;
}

export interface Modules {
  readonly registry: Registry;
  readonly content: Content;
  readonly store: Store;
  readonly native: NativeHelper;
  readonly log: Log;
}

/** Context and message, least severe first. */
export interface Log {
  debug(context: object, message: string): void;
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
  error(context: object, message: string): void;
}

/** Blobs of one snapshot file, as they travel. */
export function blobsOf(file: VolumeFile): { digest: Digest; sizeBytes: number }[] {
  return [
    { digest: file.blobDigest, sizeBytes: file.blobSizeBytes },
    { digest: file.piecesDigest, sizeBytes: file.piecesSizeBytes },
  ];
}
