import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  digestOf,
  encodePieceTable,
  encodeSnapshotConfig,
  MEDIA_TYPES,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
  type SnapshotMessage,
  SnapshotMessageSchema,
  signEnvelope,
  type VolumeFile,
} from '@drakkar/protocol';

export const REPOSITORY = 'docker.io/library/app';
export const PLATFORM = 'linux/amd64';

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
const descriptor = (mediaType: string, bytes: Uint8Array) => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
});

/** A snapshot of an image that is called so, whose parts belong together. */
export function snapshotOf(
  name: string,
  key: KeyObject = generateKeyPairSync('ed25519').privateKey,
): { readonly message: SnapshotMessage; readonly config: SnapshotConfig } {
  const imageConfig = json({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers' }, name });
  const manifest = json({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: descriptor(MEDIA_TYPES.ociConfig, imageConfig),
    layers: [],
  });
  const index = json({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [
      { ...descriptor(MEDIA_TYPES.ociManifest, manifest), platform: { os: 'linux', architecture: 'amd64' } },
    ],
  });
  const files = ['meta', 'device'].map((part) => fileOf(`${part} of ${name}`));
  const [meta, device] = files as [TestFile, TestFile];
  const config: SnapshotConfig = {
    formatVersion: 1,
    builder: 'test',
    manifestDigest: digestOf(manifest),
    blockBytes: 524_288,
    meta: meta.file,
    devices: [device.file],
    files: 1,
  };
  const envelope = signEnvelope(SNAPSHOT_MEDIA_TYPES.configPayload, encodeSnapshotConfig(config), key);
  const artifact = json({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    artifactType: SNAPSHOT_MEDIA_TYPES.artifact,
    config: descriptor(SNAPSHOT_MEDIA_TYPES.config, envelope),
    layers: [],
    subject: descriptor(MEDIA_TYPES.ociManifest, manifest),
  });
  const message = create(SnapshotMessageSchema, {
    repository: REPOSITORY,
    platform: PLATFORM,
    documents: [index, manifest],
    imageConfig,
    artifact,
    envelope,
    tables: [meta.table, device.table],
    pushed: false,
  });
  // As it arrives.
  return { message: fromBinary(SnapshotMessageSchema, toBinary(SnapshotMessageSchema, message)), config };
}

interface TestFile {
  readonly file: VolumeFile;
  readonly table: Uint8Array;
}

function fileOf(name: string): TestFile {
  const blobDigest = digestOf(name);
  const pieces = [
    { offset: 0, length: 10, sha256: digestOf('a') },
    { offset: 10, length: 5, sha256: digestOf('b') },
  ];
  const table = encodePieceTable({ digest: blobDigest, sizeBytes: 15, pieces });
  const file = {
    rawDigest: digestOf(`raw ${name}`),
    rawSizeBytes: 4096,
    blobDigest,
    blobSizeBytes: 15,
    piecesDigest: digestOf(table),
    piecesSizeBytes: table.length,
  };
  return { file, table };
}
