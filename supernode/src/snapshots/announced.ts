import {
  claimedSigners,
  type Digest,
  DrakkarError,
  decodePublicKey,
  decodeSnapshotConfig,
  digestOf,
  formatPlatform,
  type Manifest,
  parseImageConfig,
  parseManifestDocument,
  parsePlatform,
  parseRepository,
  pieceCountOfTable,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotMessage,
  verifyEnvelope,
} from '@drakkar/protocol';
import type { BlobSize } from '../swarm/swarm.ts';

/** A snapshot that a host has announced, as far as it proves itself. */
export interface Announced {
  readonly registry: string;
  readonly platform: string;
  /** What a tag means: an index, or the image manifest. */
  readonly root: Digest;
  readonly manifest: Digest;
  /** Of the signed config. */
  readonly envelope: Digest;
  /** Public key of who signed it. */
  readonly builder: string;
  /** Raw digest of its meta, which says what lies where. */
  readonly layout: Digest;
  /** What must be had of it: meta and devices. */
  readonly blobs: readonly BlobSize[];
}

/** An index may hold an index, and so on; the last document is the manifest. */
const MAX_DOCUMENTS = 4;

/**
 * Verifies that the parts of a snapshot belong together: each document names the next, the manifest names the image's config, the
 * artifact the signed config, and that the image manifest and the piece tables. Whom the builder is trusted by is another matter.
 *
 * @throws `invalid_content` | `invalid_argument` | `limit_exceeded` | `forbidden`
 */
export function readAnnounced(snapshot: SnapshotMessage): Announced {
  const { registry } = parseRepository(snapshot.repository);
  const platform = requirePlatform(snapshot.platform, snapshot.imageConfig);
  const { documents } = snapshot;
  const [first] = documents;
  if (first === undefined || documents.length > MAX_DOCUMENTS) refuse(`has ${documents.length} documents`);
  const { manifest: image, digest: manifest } = requireChain(documents);
  if (image.config.digest !== digestOf(snapshot.imageConfig)) refuse('has the config of another image');
  const envelope = digestOf(snapshot.envelope);
  const artifact = requireManifest(snapshot.artifact);
  if (artifact.config.digest !== envelope || artifact.subject?.digest !== manifest)
    refuse('has an artifact of something else');
  const keys = claimedSigners(snapshot.envelope).map(decodePublicKey);
  const { payload, signer } = verifyEnvelope(snapshot.envelope, SNAPSHOT_MEDIA_TYPES.configPayload, keys);
  const config = decodeSnapshotConfig(payload);
  if (config.manifestDigest !== manifest) refuse(`is of ${config.manifestDigest}`);
  const files = [config.meta, ...config.devices];
  const { tables } = snapshot;
  const areTheirs = files.every(({ piecesDigest }, index) => isOf(tables[index], piecesDigest));
  if (tables.length !== files.length || !areTheirs) refuse('has other piece tables than its config names');
  return {
    registry,
    platform,
    root: digestOf(first ?? Buffer.of()),
    manifest,
    envelope,
    builder: signer,
    layout: config.meta.rawDigest,
    blobs: files.map(
      ({ blobDigest: digest, blobSizeBytes: sizeBytes, piecesDigest: table, piecesSizeBytes }) => ({
        name: { digest, origin: registry, table },
        sizeBytes,
        pieces: pieceCountOfTable(piecesSizeBytes) ?? 0,
      }),
    ),
  };
}

const isOf = (bytes: Uint8Array | undefined, digest: Digest): boolean =>
  bytes !== undefined && digestOf(bytes) === digest;

function requirePlatform(text: string, imageConfig: Uint8Array): string {
  const platform = parsePlatform(text);
  const { os, architecture } = parseImageConfig(imageConfig);
  if (os !== platform.os || architecture !== platform.architecture) refuse(`is for ${os}/${architecture}`);
  return formatPlatform(platform);
}

function requireChain(documents: readonly Uint8Array[]): { manifest: Manifest; digest: Digest } {
  for (const [index, bytes] of documents.entries()) {
    const next = documents[index + 1];
    if (next === undefined) return { manifest: requireManifest(bytes), digest: digestOf(bytes) };
    const document = parseManifestDocument(bytes);
    const names =
      document.kind === 'index' && document.index.manifests.some(({ digest }) => isOf(next, digest));
    if (!names) refuse('has a document that does not name the next one');
  }
  return refuse('has no documents');
}

function requireManifest(bytes: Uint8Array): Manifest {
  const document = parseManifestDocument(bytes);
  return document.kind === 'manifest' ? document.manifest : refuse('has an index in the place of a manifest');
}

function refuse(why: string): never {
  throw new DrakkarError('invalid_content', `a snapshot that a host announces ${why}`);
}
