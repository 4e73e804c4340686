import type { KeyObject } from 'node:crypto';
import {
  type Descriptor,
  digestOf,
  encodeSnapshotConfig,
  type Manifest,
  MEDIA_TYPES,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
  signEnvelope,
} from '@drakkar/protocol';
import { layersOf } from './layers.ts';

export interface ComposeRequest {
  readonly config: SnapshotConfig;
  /** The image manifest, as its registry serves it. */
  readonly subject: Descriptor;
  /** The builder's Ed25519 private key. */
  readonly key: KeyObject;
}

export interface ComposedArtifact {
  /** The OCI manifest. */
  readonly artifact: Uint8Array;
  /** The config blob that it names: the signed {@link SnapshotConfig}. */
  readonly envelope: Uint8Array;
}

/** Signs a snapshot and describes it as an OCI artifact. The same input gives the same bytes. */
export function composeArtifact({ config, subject, key }: ComposeRequest): ComposedArtifact {
  const envelope = signEnvelope(SNAPSHOT_MEDIA_TYPES.configPayload, encodeSnapshotConfig(config), key);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    artifactType: SNAPSHOT_MEDIA_TYPES.artifact,
    config: { mediaType: SNAPSHOT_MEDIA_TYPES.config, digest: digestOf(envelope), size: envelope.length },
    layers: layersOf(config),
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
  };
  return { artifact: Buffer.from(JSON.stringify(manifest)), envelope };
}
