import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Descriptor,
  type Digest,
  decodePieceTable,
  hexOf,
  isDrakkarError,
  MAX_SNAPSHOT_CONFIG_BYTES,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
  type VolumeFile,
} from '@drakkar/protocol';
import { expandBlob, openArtifact, parseArtifact, requireDevices } from '@drakkar/snapshotter';
import type { ResolvedImage } from '../upstream/index.ts';
import type { Image } from './images.ts';
import {
  allDigests,
  blobsOf,
  type Extent,
  filesWithin,
  isLocal,
  type Modules,
  rawDigests,
  type SnapshotParts,
} from './modules.ts';
import { type Staging, staged } from './staging.ts';
import type { Work } from './work.ts';

/** A DSSE envelope is its payload in base64 and a few signatures. */
const MAX_ENVELOPE_BYTES = 2 * MAX_SNAPSHOT_CONFIG_BYTES;

/** Snapshots of one image that are looked at in a registry before one is built: anybody may push some there. */
const MAX_CANDIDATES = 16;

export interface FindRequest {
  readonly image: Image;
  readonly resolved: ResolvedImage;
  readonly trustedKeys: readonly KeyObject[];
  /** What of it is fetched. */
  readonly extent: Extent;
}

/**
 * The snapshot of an image that its registry has and a trusted builder signed, with what is wanted of its files in the store; or `undefined`
 * where there is none that can be used, which the log explains.
 *
 * @param keep called while the files are still pinned
 * @throws `no_space`; `cancelled`
 */
export async function findSnapshot<Kept>(
  wanted: FindRequest,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept | undefined> {
  const { image, resolved } = wanted;
  const { registry, log } = modules;
  const { artifact: artifactType } = SNAPSHOT_MEDIA_TYPES;
  let candidates: Descriptor[];
  try {
    candidates = await registry.listReferrers(image.reference, resolved.manifestDigest, artifactType, work);
  } catch (error) {
    work.signal.throwIfAborted();
    log.warn({ image: image.name, error }, 'the registry does not say whether it has a snapshot');
    return undefined;
  }
  for (const { digest } of candidates.slice(0, MAX_CANDIDATES)) {
    try {
      return await fetchSnapshot(wanted, digest, modules, work, keep);
    } catch (error) {
      work.signal.throwIfAborted();
      if (isDrakkarError(error, 'no_space')) throw error;
      log.warn({ image: image.name, artifact: digest, error }, 'a snapshot in the registry is not used');
    }
  }
  return undefined;
}

async function fetchSnapshot<Kept>(
  { image, resolved, trustedKeys, extent }: FindRequest,
  artifactDigest: Digest,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept> {
  const { registry, store } = modules;
  const { bytes: artifact } = await registry.fetchManifest(image.reference, artifactDigest, work);
  const { digest: envelopeDigest } = parseArtifact(artifact).config;
  const envelope = await registry.fetchBlob(image.reference, envelopeDigest, MAX_ENVELOPE_BYTES, work);
  work.receipt.fromUpstream(artifact.length + envelope.length);
  const subject = resolved.manifestDigest;
  const { config, signer } = openArtifact({ artifact, envelope, subject, trustedKeys });
  work.timeline.mark('snapshot-found');
  const files = filesWithin(config, extent);
  const totalBytes = files.flatMap(blobsOf).reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  let doneBytes = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    work.progress('download', doneBytes, totalBytes);
  };
  return staged(store, async (staging) => {
    await fetchFiles(image, files, staging, modules, work, onBytes);
    await requireDevices(store.pathOf(config.meta.rawDigest), config);
    return keep({ config, envelope, artifact, signer, origin: 'registry' });
  });
}

/**
 * Brings back raw files that were evicted, from blobs that still are in the store. Nobody has to be asked.
 *
 * @returns whether all that is wanted is here now
 */
export async function restoreFiles(
  image: Image,
  config: SnapshotConfig,
  extent: Extent,
  modules: Modules,
  work: Work,
): Promise<boolean> {
  const { store } = modules;
  await store.verify(allDigests(config));
  const evicted = filesWithin(config, extent).filter(({ rawDigest }) => !store.has(rawDigest, 'volume'));
  if (!evicted.flatMap(blobsOf).every(({ digest }) => store.has(digest))) return false;
  return staged(store, async (staging) => {
    for (const digest of rawDigests(config)) store.pin(digest, staging.holder);
    for (const file of evicted) await fetchFile(image, file, staging, modules, work, () => {});
    return isLocal(config, extent, store);
  });
}

/**
 * Fetches those files of a snapshot that are not here. All are pinned for the staging.
 *
 * @param onBytes called with each number of bytes that has arrived
 */
export async function fetchFiles(
  image: Image,
  files: readonly VolumeFile[],
  staging: Staging,
  modules: Modules,
  work: Work,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { store } = modules;
  for (const file of files) {
    store.pin(file.rawDigest, staging.holder);
    await store.verify([file.rawDigest]);
    if (!store.has(file.rawDigest, 'volume')) await fetchFile(image, file, staging, modules, work, onBytes);
  }
}

/** Fetches one file's blobs and makes its raw form. */
async function fetchFile(
  image: Image,
  file: VolumeFile,
  { directory, reservation, holder }: Staging,
  { content, store }: Modules,
  work: Work,
  onBytes: (bytes: number) => void,
): Promise<void> {
  for (const blob of blobsOf(file)) {
    store.pin(blob.digest, holder);
    const request = { image: image.reference, ...blob };
    await content.fetch(request, work.receipt, { signal: work.signal, onBytes });
  }
  await content.offerPieces(image.reference, file.blobDigest, file.piecesDigest);
  const table = decodePieceTable(await readFile(store.pathOf(file.piecesDigest)));
  const outputPath = join(directory, hexOf(file.rawDigest));
  reservation.grow(file.rawSizeBytes);
  const blobPath = store.pathOf(file.blobDigest);
  await expandBlob({ blobPath, table, file, outputPath }, { signal: work.signal });
  await store.adopt(outputPath, file.rawDigest, file.rawSizeBytes, 'volume', reservation, holder);
}
