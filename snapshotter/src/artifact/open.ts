import type { KeyObject } from 'node:crypto';
import {
  type Digest,
  DrakkarError,
  decodeSnapshotConfig,
  digestOf,
  MAX_SNAPSHOT_CONFIG_BYTES,
  type Manifest,
  parseManifestDocument,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
  verifyEnvelope,
} from '@drakkar/protocol';
import { layersOf } from './layers.ts';

/** Base64 makes 4 bytes of 3; the rest is signatures. */
const MAX_ENVELOPE_BYTES = 2 * MAX_SNAPSHOT_CONFIG_BYTES;

/**
 * The manifest of a snapshot artifact, which says what its config blob is. It proves nothing: see {@link openArtifact}.
 * @throws `invalid_content` | `limit_exceeded`
 */
export function parseArtifact(artifact: Uint8Array): Manifest {
  const document = parseManifestDocument(artifact);
  if (document.kind !== 'manifest') return refuse('is an index');
  const { manifest } = document;
  if (manifest.artifactType !== SNAPSHOT_MEDIA_TYPES.artifact) {
    refuse(`has the artifact type ${JSON.stringify(manifest.artifactType)}`);
  }
  if (manifest.config.mediaType !== SNAPSHOT_MEDIA_TYPES.config) {
    refuse(`has a config of type ${JSON.stringify(manifest.config.mediaType)}`);
  }
  if (manifest.config.size > MAX_ENVELOPE_BYTES) {
    throw new DrakkarError(
      'limit_exceeded',
      `the artifact's config says it has ${manifest.config.size} bytes`,
    );
  }
  return manifest;
}

export interface OpenRequest {
  readonly artifact: Uint8Array;
  /** The config blob that the artifact names. */
  readonly envelope: Uint8Array;
  /** Digest of the image manifest whose snapshot is wanted. */
  readonly subject: Digest;
  readonly trustedKeys: readonly KeyObject[];
}

export interface OpenedArtifact {
  readonly config: SnapshotConfig;
  /** Public key of the builder, as configuration names it. */
  readonly signer: string;
}

/**
 * Verifies an artifact in every respect: a trusted builder signed its config, that config is of this very image, and
 * the layers are those of the config.
 * @throws `forbidden` where no trusted builder signed it; `invalid_content` | `limit_exceeded` for anything else
 */
export function openArtifact({ artifact, envelope, subject, trustedKeys }: OpenRequest): OpenedArtifact {
  const manifest = parseArtifact(artifact);
  if (envelope.length !== manifest.config.size || digestOf(envelope) !== manifest.config.digest) {
    refuse('names another config than this one');
  }
  const { payload, signer } = verifyEnvelope(envelope, SNAPSHOT_MEDIA_TYPES.configPayload, trustedKeys);
  const config = decodeSnapshotConfig(payload);
  if (manifest.subject?.digest !== subject || config.manifestDigest !== subject) {
    refuse(`is of the image ${config.manifestDigest}, not of ${subject}`);
  }
  const wanted = layersOf(config);
  const same =
    manifest.layers.length === wanted.length &&
    manifest.layers.every(({ mediaType, digest, size }, index) => {
      const layer = wanted[index];
      return layer?.mediaType === mediaType && layer.digest === digest && layer.size === size;
    });
  if (!same) refuse('has other layers than its signed config');
  return { config, signer };
}

function refuse(why: string): never {
  throw new DrakkarError('invalid_content', `the snapshot artifact ${why}`);
}
