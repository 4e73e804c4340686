import {
  type Descriptor,
  type Digest,
  DrakkarError,
  digestOf,
  hexOf,
  isDrakkarError,
  MEDIA_TYPES,
  OCI_LIMITS,
  parseManifestDocument,
} from '@drakkar/protocol';
import { Turns } from '../turns.ts';
import { readLimited } from './body.ts';
import { fetchManifest, type ManifestName } from './manifests.ts';
import { type PushedManifest, pushManifest } from './push.ts';
import { backoffMs, pause } from './retry.ts';
import type { CallOptions, RepositoryName, Session } from './session.ts';

/** Pages of referrers read, at most. */
const MAX_PAGES = 16;
/** Times that an entry which another writer has overwritten is put back. */
const INDEX_TRIES = 8;
const EMPTY_INDEX: { schemaVersion: 2; mediaType: string; manifests: Descriptor[] } = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [],
};

/** The tag under which registries without a referrers API keep the list. Source: OCI distribution 1.1, "Referrers tag schema". */
export function fallbackTag(subject: Digest): string {
  return `sha256-${hexOf(subject)}`;
}

/** What refers to a manifest: by the referrers API, by the fallback tag where the registry has none. */
export async function listReferrers(
  session: Session,
  name: RepositoryName,
  subject: Digest,
  artifactType: string | undefined,
  options: CallOptions,
): Promise<Descriptor[]> {
  const found =
    (await listByApi(session, name, subject, artifactType, options)) ??
    (await listByTag(session, name, subject, options));
  return artifactType === undefined ? found : found.filter((entry) => entry.artifactType === artifactType);
}

async function listByApi(
  session: Session,
  name: RepositoryName,
  subject: Digest,
  artifactType: string | undefined,
  options: CallOptions,
): Promise<Descriptor[] | undefined> {
  const filter = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
  let path: string | URL = `referrers/${subject}${filter}`;
  const all: Descriptor[] = [];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const what = `referrers of ${subject}`;
    const response = await session.request(
      { name, path, method: 'GET', accept: [400, 404, 405, 501], what },
      options,
    );
    const isIndex = response.headers.get('content-type')?.startsWith(MEDIA_TYPES.ociIndex) === true;
    if (!response.ok || !isIndex) {
      session.discard(response);
      return undefined;
    }
    const bytes = await readLimited(
      response,
      OCI_LIMITS.manifestBytes,
      what,
      session.options,
      options.signal,
    );
    const document = parseManifestDocument(bytes, MEDIA_TYPES.ociIndex);
    if (document.kind === 'index') all.push(...document.index.manifests);
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1];
    if (next === undefined || !URL.canParse(next, response.url)) return all;
    path = new URL(next, response.url);
  }
  return all;
}

async function listByTag(
  session: Session,
  name: RepositoryName,
  subject: Digest,
  options: CallOptions,
): Promise<Descriptor[]> {
  try {
    const fetched = await fetchManifest(session, { ...name, reference: fallbackTag(subject) }, options);
    const document = parseManifestDocument(fetched.bytes, fetched.mediaType);
    return document.kind === 'index' ? document.index.manifests : [];
  } catch (error) {
    if (isDrakkarError(error, 'not_found')) return [];
    throw error;
  }
}

/**
 * Pushes a manifest that has a `subject`, and lists it under its subject where the registry does not do so itself.
 *
 * Registries have no compare-and-swap for a tag: the list is read again after each write and the entry put back if another
 * writer has lost it. Within one process writers of a subject wait for each other.
 */
export class ReferrerWriter {
  readonly #session: Session;
  readonly #turns = new Turns<string>();

  constructor(session: Session) {
    this.#session = session;
  }

  /** @throws `invalid_argument` for a manifest without subject */
  async push(name: RepositoryName, bytes: Uint8Array, options: CallOptions): Promise<PushedManifest> {
    const { entry, subject } = describe(bytes);
    const target: ManifestName = { ...name, reference: entry.digest };
    const pushed = await pushManifest(this.#session, target, bytes, entry.mediaType, options);
    if (!pushed.subjectKnown) {
      const key = `${name.registry}/${name.repository}@${subject}`;
      await this.#turns.run(key, () => this.#list(name, entry, subject, options));
    }
    return pushed;
  }

  async #list(name: RepositoryName, entry: Descriptor, subject: Digest, options: CallOptions): Promise<void> {
    for (let attempt = 1; attempt <= INDEX_TRIES; attempt += 1) {
      const manifests = await listByTag(this.#session, name, subject, options);
      if (manifests.some(({ digest }) => digest === entry.digest)) return;
      const index = { ...EMPTY_INDEX, manifests: [...manifests, entry] };
      const target = { ...name, reference: fallbackTag(subject) };
      const encoded = Buffer.from(JSON.stringify(index));
      await pushManifest(this.#session, target, encoded, MEDIA_TYPES.ociIndex, options);
      if (attempt > 1)
        await pause(backoffMs(attempt, undefined, Math.random(), this.#session.options), options.signal);
    }
  }
}

/** How a manifest stands in the list of its subject. Source: OCI distribution 1.1, "Pushing Manifests with Subject". */
function describe(bytes: Uint8Array): { entry: Descriptor; subject: Digest } {
  const document = parseManifestDocument(bytes);
  if (document.kind !== 'manifest' || document.manifest.subject === undefined) {
    throw new DrakkarError('invalid_argument', 'only a manifest with a subject can be pushed as a referrer');
  }
  const { manifest, mediaType } = document;
  const entry: Descriptor = {
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
    artifactType: manifest.artifactType ?? manifest.config.mediaType,
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
  return { entry, subject: document.manifest.subject.digest };
}
