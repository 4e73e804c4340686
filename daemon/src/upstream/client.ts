import type { Descriptor, Digest, ImageReference, Platform, RegistryCredential } from '@drakkar/protocol';
import { fetchBlob, headBlob, openBlob } from './blobs.ts';
import { endpointOf } from './hosts.ts';
import { findImage, type ResolvedImage } from './images.ts';
import { type FetchedManifest, fetchManifest, type ResolvedManifest, resolveManifest } from './manifests.ts';
import { completeUpstreamOptions, type UpstreamOptions } from './options.ts';
import { type BlobSource, type PushedManifest, type PushOptions, pushBlob, pushManifest } from './push.ts';
import type { BlobRange, BlobStream } from './ranged.ts';
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
  /**
   * The registry has given a caller something of a repository for this `Authorization`: for a while the daemon shows it as well when it reads
   * there and has no credential of its own.
   */
  lend(image: RepositoryName, authorization: string): void;
  /** Somebody wants a repository read with this credential: for a while the daemon shows it there, before any of its own. */
  entrust(image: RepositoryName, credential: RegistryCredential): void;
  /** Digest, type and size of a manifest; `reference` is a tag or a digest. */
  resolve(image: RepositoryName, reference: string, options?: CallOptions): Promise<ResolvedManifest>;
  /** A manifest's bytes, exactly as the registry has them, at most 8 MiB, verified. */
  fetchManifest(image: RepositoryName, reference: string, options?: CallOptions): Promise<FetchedManifest>;
  /** The image of a platform, through indexes. */
  resolveImage(reference: ImageReference, platform: Platform, options?: CallOptions): Promise<ResolvedImage>;
  /** The size of a blob; `undefined` where the registry does not tell. */
  headBlob(image: RepositoryName, digest: Digest, options?: CallOptions): Promise<number | undefined>;
  /** A small blob (a config), whole and verified. */
  fetchBlob(
    image: RepositoryName,
    digest: Digest,
    limitBytes: number,
    options?: CallOptions,
  ): Promise<Buffer>;
  /** A blob or a part of it as a stream that resumes itself; the digest is for the reader to check. */
  openBlob(
    image: RepositoryName,
    digest: Digest,
    range?: BlobRange,
    options?: CallOptions,
  ): Promise<BlobStream>;
  /** Sends nothing where the repository has the blob already. @returns whether bytes were sent */
  pushBlob(
    image: RepositoryName,
    digest: Digest,
    sizeBytes: number,
    source: BlobSource,
    options?: PushOptions,
  ): Promise<boolean>;
  pushManifest(
    image: RepositoryName,
    reference: string,
    bytes: Uint8Array,
    mediaType: string,
    options?: CallOptions,
  ): Promise<PushedManifest>;
  /** Pushes a manifest that has a subject, and makes it findable as a referrer of that. */
  pushReferrer(image: RepositoryName, bytes: Uint8Array, options?: CallOptions): Promise<PushedManifest>;
  /** Descriptors of what refers to a manifest, of one artifact type or of any. */
  listReferrers(
    image: RepositoryName,
    subject: Digest,
    artifactType?: string,
    options?: CallOptions,
  ): Promise<Descriptor[]>;
}

/** @throws `invalid_argument` for CA files that cannot be read */
export function createRegistryClient(options: Partial<UpstreamOptions> = {}): RegistryClient {
  const session = new Session(completeUpstreamOptions(options));
  const referrers = new ReferrerWriter(session);
  const at = ({ registry, repository }: RepositoryName) => ({ registry, repository });
  return {
    allows(registry) {
      try {
        endpointOf(registry, session.options);
        return true;
      } catch {
        return false;
      }
    },
    lend: (image, authorization) => session.lend(at(image), authorization),
    entrust: (image, credential) => session.entrust(at(image), credential),
    resolve: (image, reference, call = {}) => resolveManifest(session, { ...at(image), reference }, call),
    fetchManifest: (image, reference, call = {}) => fetchManifest(session, { ...at(image), reference }, call),
    resolveImage: (reference, platform, call = {}) =>
      findImage((name) => fetchManifest(session, name, call), reference, platform),
    headBlob: (image, digest, call = {}) => headBlob(session, { ...at(image), digest }, call),
    fetchBlob: (image, digest, limitBytes, call = {}) =>
      fetchBlob(session, { ...at(image), digest }, limitBytes, call),
    openBlob: (image, digest, range = {}, call = {}) =>
      openBlob(session, { ...at(image), digest }, range, call),
    pushBlob: (image, digest, sizeBytes, source, call = {}) =>
      pushBlob(session, { ...at(image), digest }, sizeBytes, source, call),
    pushManifest: (image, reference, bytes, mediaType, call = {}) =>
      pushManifest(session, { ...at(image), reference }, bytes, mediaType, call),
    pushReferrer: (image, bytes, call = {}) => referrers.push(at(image), bytes, call),
    listReferrers: (image, subject, artifactType, call = {}) =>
      listReferrers(session, at(image), subject, artifactType, call),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}
