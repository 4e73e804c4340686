import {
  type Descriptor,
  type Digest,
  DrakkarError,
  formatPlatform,
  formatReference,
  type ImageReference,
  type Index,
  type Manifest,
  MEDIA_TYPES,
  OCI_LIMITS,
  type Platform,
  parseManifestDocument,
  selectPlatform,
} from '@drakkar/protocol';
import { type FetchedManifest, type ManifestName, manifestNameOf } from './manifests.ts';

/** One platform's image. */
export interface ResolvedImage {
  readonly reference: ImageReference;
  /** What the reference itself names: an index, or the manifest. */
  readonly rootDigest: Digest;
  readonly manifestDigest: Digest;
  readonly mediaType: string;
  readonly manifest: Manifest;
  readonly manifestBytes: Buffer;
  /** What the reference names, then whatever leads from there to the manifest, which is the last one. */
  readonly documents: readonly Buffer[];
}

/** Documents fetched to resolve one image, at most: an index may offer several nested ones. */
const MAX_DOCUMENTS = 16;

/**
 * Follows indexes to the image of a platform.
 * @param fetch where the documents come from
 * @throws `no_platform` when no entry fits; `limit_exceeded` for indexes that nest too deep; `invalid_content` for one that
 *   holds itself; `unsupported` for schema 1
 */
export async function findImage(
  fetch: (name: ManifestName) => Promise<FetchedManifest>,
  reference: ImageReference,
  platform: Platform,
): Promise<ResolvedImage> {
  const image = formatReference(reference);
  const name = manifestNameOf(reference);
  const root = await fetch(name);
  const offered = new Set<string>();
  let documents = 1;

  const visit = async (
    fetched: FetchedManifest,
    path: readonly FetchedManifest[],
  ): Promise<ResolvedImage | undefined> => {
    const document = parse(fetched, image);
    if (document.kind === 'manifest') {
      const { digest: manifestDigest, mediaType, bytes: manifestBytes } = fetched;
      return {
        reference,
        rootDigest: root.digest,
        manifestDigest,
        mediaType,
        manifest: document.manifest,
        manifestBytes,
        documents: [...path, fetched].map(({ bytes }) => bytes),
      };
    }
    if (path.length >= OCI_LIMITS.indexDepth) {
      throw new DrakkarError(
        'limit_exceeded',
        `${image}: its indexes nest more than ${OCI_LIMITS.indexDepth} deep`,
      );
    }
    for (const entry of document.index.manifests) {
      if (entry.platform !== undefined) offered.add(formatPlatform(entry.platform));
    }
    const inside = [...path, fetched];
    for (const { digest } of candidates(document.index, platform)) {
      if (inside.some((index) => index.digest === digest)) {
        throw new DrakkarError('invalid_content', `${image}: the index ${digest} holds itself`);
      }
      documents += 1;
      if (documents > MAX_DOCUMENTS) {
        throw new DrakkarError(
          'limit_exceeded',
          `${image}: more than ${MAX_DOCUMENTS} nested indexes were searched`,
        );
      }
      const found = await visit(await fetch({ ...name, reference: digest }), inside);
      if (found !== undefined) return found;
    }
    return undefined;
  };

  const found = await visit(root, []);
  if (found !== undefined) return found;
  throw new DrakkarError('no_platform', `${image} has no image for ${formatPlatform(platform)}`, {
    hint: offered.size === 0 ? undefined : `it has ${[...offered].sort().join(', ')}`,
    details: { image },
  });
}

/** The entry for the platform; where there is none, nested indexes that do not say what they are for. */
function candidates(index: Index, platform: Platform): Descriptor[] {
  const fitting = selectPlatform(index.manifests, platform);
  if (fitting !== undefined) return [fitting];
  return index.manifests.filter(
    ({ mediaType, platform: declared }) =>
      declared === undefined && (mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerIndex),
  );
}

function parse(fetched: FetchedManifest, image: string) {
  if (/docker\.distribution\.manifest\.v1\+/.test(fetched.mediaType)) {
    throw new DrakkarError('unsupported', `${image} has a manifest of schema 1`, {
      hint: 'push the image again with a current tool',
    });
  }
  try {
    return parseManifestDocument(fetched.bytes, fetched.mediaType);
  } catch (error) {
    if (!(error instanceof DrakkarError)) throw error;
    throw new DrakkarError(error.code, `${image}: ${error.message}`, {
      details: { image, digest: fetched.digest },
      cause: error,
    });
  }
}
