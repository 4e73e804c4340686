import { digestOf, type SnapshotConfig } from '@drakkar/protocol';
import type { SnapshotRecord } from '../../src/snapshots/index.ts';

const file = {
  rawDigest: digestOf('raw'),
  rawSizeBytes: 4096,
  blobDigest: digestOf('blob'),
  blobSizeBytes: 10,
  piecesDigest: digestOf('pieces'),
  piecesSizeBytes: 20,
};
export const config = (name: string): SnapshotConfig => ({
  formatVersion: 1,
  builder: 'test',
  manifestDigest: digestOf(name),
  blockBytes: 524_288,
  meta: file,
  devices: [file],
  files: 1,
});
/** A snapshot as the catalogue knows it; another name, another image. */
export const record = (name: string, changed: Partial<SnapshotRecord> = {}): SnapshotRecord => ({
  manifestDigest: digestOf(name),
  rootDigest: digestOf(`index of ${name}`),
  image: 'docker.io/library/app:latest',
  platform: 'linux/amd64',
  imageConfig: Buffer.from('{}'),
  imageSizeBytes: 5,
  config: config(name),
  envelope: Buffer.from('e'),
  artifact: Buffer.from('a'),
  documents: [Buffer.from('m')],
  signer: 'key',
  origin: 'built',
  createdAtMs: 1,
  ...changed,
});
