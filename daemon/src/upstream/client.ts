import type { Descriptor, Digest, ImageReference, Platform } from '@drakkar/protocol';
import { type BlobName, type BlobRange, type BlobStream, fetchBlob, headBlob, openBlob } from './blobs.ts';
import { endpointOf } from './hosts.ts';
import { type ResolvedImage, resolveImage } from './images.ts';
import {
  type FetchedManifest,
  fetchManifest,
  type ManifestName,
  type ResolvedManifest,
  resolveManifest,
} from './manifests.ts';
import { completeUpstreamOptions, type UpstreamOptions } from './options.ts';
import { type BlobSource, type PushedManifest, type PushOptions, pushBlob, pushManifest } from './push.ts';
import { listReferrers, ReferrerWriter } from './referrers.ts';
import { type CallOptions, type RepositoryName, Session } from './session.ts';

/**
 * Registries of OCI distribution 1.1 and Docker schema 2. Every call throws {@link DrakkarError}s: `unauthorized` (with the
 * registry's `challenge` in the details), `forbidden`, `not_found`, `unavailable`, `timeout`, `cancelled`,
 * `invalid_content`, `limit_exceeded`.
 */
export interface RegistryClient extends Disposable {
  /** Whether the allowlist has a registry. */
  allows(registry: string): boolean;
  /** Digest, type and size of a manifest. */
  resolve(name: ManifestName, options?: CallOptions): Promise<ResolvedManifest>;
  /** A manifest's bytes, exactly as the registry has them, at most 8 MiB, verified. */
  fetchManifest(name: ManifestName, options?: CallOptions): Promise<FetchedManifest>;
  /** The image of a platform, through indexes. */
  resolveImage(reference: ImageReference, platform: Platform, options?: CallOptions): Promise<ResolvedImage>;
  /** The size of a blob; `undefined` where the registry does not tell. */
  headBlob(name: BlobName, options?: CallOptions): Promise<number | undefined>;
  /** A small blob (a config), whole and verified. */
  fetchBlob(name: BlobName, limitBytes: number, options?: CallOptions): Promise<Buffer>;
  /** A blob or a part of it as a stream that resumes itself; the digest is for the reader to check. */
  openBlob(name: BlobName, range?: BlobRange, options?: CallOptions): Promise<BlobStream>;
  /** @returns whether bytes were sent: not, when the repository has the blob already */
  pushBlob(name: BlobName, sizeBytes: number, source: BlobSource, options?: PushOptions): Promise<boolean>;
  pushManifest(
    name: ManifestName,
    bytes: Uint8Array,
    mediaType: string,
    options?: CallOptions,
  ): Promise<PushedManifest>;
  /** Pushes a manifest by digest and makes sure that it is found as a referrer of `subject`. */
  pushReferrer(
    name: RepositoryName,
    bytes: Uint8Array,
    entry: Descriptor,
    subject: Digest,
    options?: CallOptions,
  ): Promise<PushedManifest>;
  listReferrers(
    name: RepositoryName,
    subject: Digest,
    artifactType?: string,
    options?: CallOptions,
  ): Promise<Descriptor[]>;
}

/** @throws `invalid_argument` for CA files that cannot be read */
export function createRegistryClient(options: Partial<UpstreamOptions> = {}): RegistryClient {
  const session = new Session(completeUpstreamOptions(options));
  const referrers = new ReferrerWriter(session);
  return {
    allows(registry) {
      try {
        endpointOf(registry, session.options);
        return true;
      } catch {
        return false;
      }
    },
    resolve: (name, call = {}) => resolveManifest(session, name, call),
    fetchManifest: (name, call = {}) => fetchManifest(session, name, call),
    resolveImage: (reference, platform, call = {}) => resolveImage(session, reference, platform, call),
    headBlob: (name, call = {}) => headBlob(session, name, call),
    fetchBlob: (name, limitBytes, call = {}) => fetchBlob(session, name, limitBytes, call),
    openBlob: (name, range = {}, call = {}) => openBlob(session, name, range, call),
    pushBlob: (name, sizeBytes, source, call = {}) => pushBlob(session, name, sizeBytes, source, call),
    pushManifest: (name, bytes, mediaType, call = {}) => pushManifest(session, name, bytes, mediaType, call),
    pushReferrer: (name, bytes, entry, subject, call = {}) =>
      referrers.push(name, bytes, entry, subject, call),
    listReferrers: (name, subject, artifactType, call = {}) =>
      listReferrers(session, name, subject, artifactType, call),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}
