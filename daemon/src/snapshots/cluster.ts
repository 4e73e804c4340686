import type { KeyObject } from 'node:crypto';
import {
  type Digest,
  DrakkarError,
  decodePublicKey,
  digestOf,
  formatPlatform,
  isDrakkarError,
  parseManifestDocument,
} from '@drakkar/protocol';
import type { FoundSnapshot } from '../swarm/index.ts';
import { findImage, type ResolvedImage } from '../upstream/index.ts';
import { type FindRequest, openSnapshot } from './found.ts';
import type { Image } from './images.ts';
import type { Modules, SnapshotParts } from './modules.ts';
import type { Work } from './work.ts';

/** What the cluster has said of an image, as far as it proves itself. */
export interface GivenSnapshot {
  /** From the documents that lead from what the registry has said to the manifest: each is named by the one before. */
  readonly resolved: ResolvedImage;
  /** Named by the manifest. */
  readonly imageConfig: Uint8Array;
  readonly found: FoundSnapshot;
}

/**
 * Asks the cluster for the snapshot of an image. Where it has none, or says what does not prove itself, which the log explains, `undefined`.
 *
 * @param root what the registry has said that the image's name means: an index or the manifest
 * @throws `cancelled`
 */
export async function askCluster(
  image: Image,
  root: Digest,
  startKey: Digest,
  { cluster, log }: Pick<Modules, 'cluster' | 'log'>,
  work: Work,
): Promise<GivenSnapshot | undefined> {
  const { reference, platform } = image;
  try {
    const question = { repository: reference, platform: formatPlatform(platform), root };
    const found = await cluster?.find(question, startKey, work.signal);
    if (found === undefined) return undefined;
    const { imageConfig } = found.snapshot;
    const resolved = await readDocuments(image, root, found.snapshot.documents);
    if (digestOf(imageConfig) !== resolved.manifest.config.digest) {
      throw new DrakkarError('invalid_content', 'the cluster gives the config of another image');
    }
    return { resolved, imageConfig, found };
  } catch (error) {
    work.signal.throwIfAborted();
    log.warn({ image: image.name, error }, 'what the cluster says of a snapshot is not used');
    return undefined;
  }
}

/** Trust in what the cluster has said. */
export interface ClusterTrust {
  readonly trustedKeys: readonly KeyObject[];
  /** A builder that the cluster vouches for is as good as a trusted one. */
  readonly trustCluster: boolean;
}

/**
 * The snapshot that the cluster has given, with what is wanted of its files in the store; or `undefined` where it can't be used, which the log
 * explains and the cluster is told.
 *
 * @param keep called while the files are still pinned
 * @throws `no_space`; `cancelled`
 */
export async function fetchGiven<Kept>(
  wanted: Omit<FindRequest, 'trustedKeys'>,
  { found }: GivenSnapshot,
  trust: ClusterTrust,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept | undefined> {
  const { image, resolved } = wanted;
  const { manifestDigest } = resolved;
  const { artifact, envelope, tables } = found.snapshot;
  try {
    const trustedKeys = [...trust.trustedKeys, ...vouchedKeys(wanted, found, trust)];
    const given = { artifact, envelope, tables, source: 'cluster' } as const;
    return await openSnapshot({ ...wanted, trustedKeys }, given, modules, work, keep);
  } catch (error) {
    work.signal.throwIfAborted();
    if (isDrakkarError(error, 'no_space')) throw error;
    modules.log.warn({ image: image.name, error }, 'a snapshot of the cluster is not used');
    if (!isDrakkarError(error, 'forbidden')) modules.cluster?.lost(image.reference, manifestDigest);
    return undefined;
  }
}

/** The key of the builder that the cluster vouches for, where it does so for this very snapshot. */
function vouchedKeys(
  { image, resolved }: Pick<FindRequest, 'image' | 'resolved'>,
  { snapshot, voucher }: FoundSnapshot,
  { trustCluster }: ClusterTrust,
): KeyObject[] {
  const isTheirs =
    trustCluster &&
    voucher?.manifest === resolved.manifestDigest &&
    voucher.platform === formatPlatform(image.platform) &&
    voucher.envelope === digestOf(snapshot.envelope);
  return isTheirs ? [decodePublicKey(voucher.builder)] : [];
}

/** Follows the documents from what the registry has said; what they don't name is not looked at. */
async function readDocuments(
  image: Image,
  root: Digest,
  documents: readonly Uint8Array[],
): Promise<ResolvedImage> {
  const byDigest = new Map(documents.map((bytes) => [digestOf(bytes) as string, Buffer.from(bytes)]));
  return await findImage(
    async ({ reference }) => {
      const bytes = byDigest.get(reference);
      if (bytes === undefined) {
        throw new DrakkarError('invalid_content', `the cluster leaves out the document ${reference}`);
      }
      const { mediaType } = parseManifestDocument(bytes);
      return { digest: digestOf(bytes), mediaType, sizeBytes: bytes.length, bytes };
    },
    { ...image.reference, digest: root },
    image.platform,
  );
}
