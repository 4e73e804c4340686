import { DrakkarError } from '@drakkar/errors';
import { z } from 'zod';
import { type Digest, isDigest } from './digest.ts';

/** Media types of a snapshot artifact; see docs/ARCHITECTURE.md, "The artifact". */
export const SNAPSHOT_MEDIA_TYPES = {
  artifact: 'application/vnd.drakkar.snapshot.v1+json',
  /** A DSSE envelope whose payload is a {@link SnapshotConfig} in JSON. */
  config: 'application/vnd.drakkar.snapshot.config.v1.dsse+json',
  configPayload: 'application/vnd.drakkar.snapshot.config.v1+json',
  /** One EROFS image, metadata only, as a zstd seekable blob. */
  meta: 'application/vnd.drakkar.snapshot.meta.v1.erofs+zstd',
  /** The file contents that one or more layers add, as a zstd seekable blob. */
  device: 'application/vnd.drakkar.snapshot.device.v1+zstd',
  /** The piece table of a meta or device blob, as `encodePieceTable` writes it. */
  pieces: 'application/vnd.drakkar.snapshot.pieces.v1',
  /** Which chunks lie where on the devices, as `encodeChunkList` writes it, in one zstd frame: for builders of later versions. */
  chunks: 'application/vnd.drakkar.snapshot.chunks.v1+zstd',
} as const;

/** EROFS's own block, and the unit in which devices are addressed. */
export const EROFS_BLOCK_BYTES = 4096;

/** Uncompressed bytes of one zstd frame of a snapshot blob, unless the builder is told otherwise. */
export const DEFAULT_BLOCK_BYTES = 512 * 1024;

/** An image never has more devices than this. A page of mount options would hold about 40; `fsconfig` has no such limit. */
export const MAX_DEVICES = 64;

/** Of a chunk list, before compression: 3.5 million chunks are 3.3 TiB of large files, or 13 GiB of the smallest. */
export const MAX_CHUNK_LIST_BYTES = 128 * 1024 * 1024;

const digestSchema = z.custom<Digest>(isDigest, 'not a sha256 digest');
const sizeSchema = z.int().min(0);
/** Whole blocks of EROFS, and no more than it can address with 32 bits. */
const rawSizeSchema = z
  .int()
  .min(EROFS_BLOCK_BYTES)
  .max(0xffffffff * EROFS_BLOCK_BYTES)
  .multipleOf(EROFS_BLOCK_BYTES);

/** One file of a snapshot in both its forms: raw as it is mounted, and compressed as it travels. */
const volumeFileSchema = z.object({
  /** sha256 and size of the raw form: the EROFS meta image, or the device. A multiple of 4096. */
  rawDigest: digestSchema,
  rawSizeBytes: rawSizeSchema,
  /** sha256 and size of the zstd seekable blob. */
  blobDigest: digestSchema,
  blobSizeBytes: sizeSchema,
  /** sha256 and size of the blob's encoded piece table, itself a blob. */
  piecesDigest: digestSchema,
  piecesSizeBytes: sizeSchema,
});
export type VolumeFile = z.infer<typeof volumeFileSchema>;

/** The chunk list of a snapshot, which only who builds upon it reads. */
const chunkListFileSchema = z.object({
  /** sha256 and size of the blob: one zstd frame. */
  blobDigest: digestSchema,
  blobSizeBytes: sizeSchema.max(2 * MAX_CHUNK_LIST_BYTES),
  /** Size of what it decompresses to. */
  rawSizeBytes: sizeSchema.max(MAX_CHUNK_LIST_BYTES),
});
export type ChunkListFile = z.infer<typeof chunkListFileSchema>;

/** What starts come to later than that is no hurry. */
export const MAX_PREFETCH_RANGES = 4096;

/** A {@link DeviceRange}. */
const deviceRangeSchema = z.object({
  device: z
    .int()
    .min(0)
    .max(MAX_DEVICES - 1),
  offset: z.int().min(0).multipleOf(EROFS_BLOCK_BYTES),
  length: rawSizeSchema,
});

const snapshotConfigSchema = z.object({
  formatVersion: z.literal(1),
  /** Program and version that built it. */
  builder: z.string().max(255),
  /** The image manifest that this is a snapshot of: one platform. */
  manifestDigest: digestSchema,
  /** Uncompressed bytes of one zstd frame. */
  blockBytes: z
    .int()
    .min(EROFS_BLOCK_BYTES)
    .max(16 * 1024 * 1024)
    .multipleOf(EROFS_BLOCK_BYTES),
  meta: volumeFileSchema,
  /** In the order of the device slots of `meta`. Some may be those of earlier snapshots of the same repository. */
  devices: z.array(volumeFileSchema).max(MAX_DEVICES),
  files: z.int().min(0),
  /** Snapshots of earlier builders have none, and very large ones don't either. */
  chunks: chunkListFileSchema.exactOptional(),
  /** What starts read, in that order, where the builder knew it. */
  prefetch: z.array(deviceRangeSchema).max(MAX_PREFETCH_RANGES).readonly().exactOptional(),
});
export type SnapshotConfig = z.infer<typeof snapshotConfigSchema>;

export const MAX_SNAPSHOT_CONFIG_BYTES = 1024 * 1024;

/** Canonical: the same config gives the same bytes. */
export function encodeSnapshotConfig(config: SnapshotConfig): Uint8Array {
  return Buffer.from(JSON.stringify(snapshotConfigSchema.parse(config)));
}

/** @throws `invalid_content` | `limit_exceeded` */
export function decodeSnapshotConfig(bytes: Uint8Array): SnapshotConfig {
  if (bytes.length > MAX_SNAPSHOT_CONFIG_BYTES) {
    throw new DrakkarError('limit_exceeded', `the snapshot config has ${bytes.length} bytes`);
  }
  try {
    return snapshotConfigSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new DrakkarError('invalid_content', 'the snapshot config is not valid', { cause });
  }
}
