import type { KeyObject } from 'node:crypto';
import {
  type Descriptor,
  type Digest,
  digestOf,
  isDrakkarError,
  MAX_SNAPSHOT_CONFIG_BYTES,
  SNAPSHOT_MEDIA_TYPES,
  type VolumeFile,
} from '@drakkar/protocol';
import { openArtifact, parseArtifact, requireDevices } from '@drakkar/snapshotter';
import type { ResolvedImage } from '../upstream/index.ts';
import { fetchFiles, type Source } from './files.ts';
import type { Image } from './images.ts';
import { blobsOf, type Extent, filesWithin, type Modules, type SnapshotParts } from './modules.ts';
import { staged } from './staging.ts';
import type { Mountable } from './volumes.ts';
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
  /** Called once when it is verified that it is a snapshot of the image and whose, and what is wanted of it has come, perhaps before it is ready. */
  readonly onFound?: ((mountable: Mountable) => void) | undefined;
}

/** A snapshot's artifact, and whom its blobs are had from. */
export interface FoundArtifact {
  readonly artifact: Uint8Array;
  readonly envelope: Uint8Array;
  /** Piece tables, where they came with it. */
  readonly tables?: readonly Uint8Array[];
  readonly source: Source;
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
      const found = await fetchArtifact(image, digest, modules, work);
      return await openSnapshot(wanted, found, modules, work, keep);
    } catch (error) {
      work.signal.throwIfAborted();
      if (isDrakkarError(error, 'no_space')) throw error;
      log.warn({ image: image.name, artifact: digest, error }, 'a snapshot in the registry is not used');
    }
  }
  return undefined;
}

async function fetchArtifact(
  image: Image,
  artifactDigest: Digest,
  { registry }: Modules,
  work: Work,
): Promise<FoundArtifact> {
  const { bytes: artifact } = await registry.fetchManifest(image.reference, artifactDigest, work);
  const { digest: envelopeDigest } = parseArtifact(artifact).config;
  const envelope = await registry.fetchBlob(image.reference, envelopeDigest, MAX_ENVELOPE_BYTES, work);
  work.receipt.fromUpstream(artifact.length + envelope.length);
  return { artifact, envelope, source: 'registry' };
}

/**
 * Verifies a snapshot and fetches what is wanted of its files.
 *
 * @throws `forbidden` where no trusted builder signed it; `invalid_content`; why its files can't be had
 */
export async function openSnapshot<Kept>(
  { image, resolved, trustedKeys, extent, onFound }: FindRequest,
  { artifact, envelope, tables = [], source }: FoundArtifact,
  modules: Modules,
  work: Work,
  keep: (parts: SnapshotParts) => Promise<Kept>,
): Promise<Kept> {
  const subject = resolved.manifestDigest;
  const { config, signer } = openArtifact({ artifact, envelope, subject, trustedKeys });
  await keepTables(image, [config.meta], tables, modules);
  work.timeline.mark('snapshot-found');
  const files = filesWithin(config, extent);
  const totalBytes = files.flatMap(blobsOf).reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  let doneBytes = 0;
  const kept = keepTables(image, config.devices, tables, modules);
  let said: Promise<void> | undefined;
  const sayFound = () => {
    said ??= kept.then(() => onFound?.({ config, image: image.reference }));
    said.catch(() => {});
    return said;
  };
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    work.progress('download', doneBytes, totalBytes);
  };
  return staged(modules.store, async (staging) => {
    await fetchFiles(files, { image, source, staging, onBytes, onArrived: sayFound }, modules, work);
    await sayFound();
    await requireDevices(modules.store.pathOf(config.meta.rawDigest), config);
    return keep({ config, envelope, artifact, signer, origin: source });
  });
}

/** Those that the signed config names; whoever wants pieces of its blobs asks for them by these. */
async function keepTables(
  { reference }: Image,
  files: readonly VolumeFile[],
  tables: readonly Uint8Array[],
  { store }: Modules,
): Promise<void> {
  const named = new Set(files.map(({ piecesDigest }) => piecesDigest));
  const wanted = tables.filter((table) => named.has(digestOf(table)));
  const { pieces } = SNAPSHOT_MEDIA_TYPES;
  await Promise.all(wanted.map((table) => store.put(table, pieces, reference.registry)));
}
