import {
  type Digest,
  DrakkarError,
  digestOf,
  type ImageReference,
  isDigest,
  MANIFEST_ACCEPT,
  OCI_LIMITS,
} from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import { readLimited } from './body.ts';
import type { CallOptions, RepositoryName, Session } from './session.ts';

export interface ManifestName extends RepositoryName {
  /** A tag or a digest. */
  readonly reference: string;
}

export interface ResolvedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

export interface FetchedManifest extends ResolvedManifest {
  readonly bytes: Buffer;
}

/** What to ask a registry for: the digest where the reference has one, else the tag. */
export function manifestNameOf(reference: ImageReference): ManifestName {
  const { registry, repository, digest, tag } = reference;
  return { registry, repository, reference: digest ?? tag ?? 'latest' };
}

const ACCEPT = { accept: MANIFEST_ACCEPT };

/** By HEAD; by GET where the registry's HEAD does not say everything. */
export async function resolveManifest(
  session: Session,
  name: ManifestName,
  options: CallOptions,
): Promise<ResolvedManifest> {
  const response = await session.request({ ...request(name), method: 'HEAD', accept: [405] }, options);
  session.discard(response);
  const digest = response.headers.get('docker-content-digest');
  const length = response.headers.get('content-length');
  const mediaType = mediaTypeOf(response);
  if (!response.ok || !isDigest(digest) || length === null || mediaType === undefined) {
    return fetchManifest(session, name, options);
  }
  if (isDigest(name.reference) && digest !== name.reference) throw mismatch(name, digest);
  return { digest, mediaType, sizeBytes: Number(length) };
}

/** @throws `invalid_content` when the bytes have another digest; `limit_exceeded` for more than 8 MiB */
export async function fetchManifest(
  session: Session,
  name: ManifestName,
  options: CallOptions,
): Promise<FetchedManifest> {
  const response = await session.request({ ...request(name), method: 'GET' }, options);
  const what = `the manifest ${name.registry}/${name.repository}@${name.reference}`;
  const bytes = await readLimited(response, OCI_LIMITS.manifestBytes, what, session.options, options.signal);
  const digest = digestOf(bytes);
  const claimed = response.headers.get('docker-content-digest');
  const wanted = isDigest(name.reference) ? name.reference : isDigest(claimed) ? claimed : digest;
  if (digest !== wanted) throw mismatch(name, digest);
  const mediaType = mediaTypeOf(response) ?? 'application/octet-stream';
  return { digest, mediaType, sizeBytes: bytes.length, bytes };
}

function request(name: ManifestName) {
  return {
    name,
    path: `manifests/${name.reference}`,
    headers: ACCEPT,
    what: `manifest ${name.reference}`,
  };
}

function mediaTypeOf(response: Response): string | undefined {
  return response.headers.get('content-type')?.split(';', 1)[0]?.trim();
}

function mismatch(name: ManifestName, digest: Digest): DrakkarError {
  return new DrakkarError(
    'invalid_content',
    `${name.registry} gave a manifest of ${name.repository} with digest ${digest} for ${name.reference}`,
    { hint: 'the registry or something before it is broken', details: { ...name, digest } },
  );
}
