import {
  type ChunkListFile,
  type Descriptor,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
  type VolumeFile,
} from '@drakkar/protocol';

/**
 * The layers of an artifact, in their one order: blob and piece table of the meta, then of each device in slot order; then the chunk
 * list, where there is one.
 */
export function layersOf(config: SnapshotConfig): Descriptor[] {
  return [
    ...pairOf(config.meta, SNAPSHOT_MEDIA_TYPES.meta),
    ...config.devices.flatMap((device) => pairOf(device, SNAPSHOT_MEDIA_TYPES.device)),
    ...(config.chunks === undefined ? [] : [chunkList(config.chunks)]),
  ];
}

function chunkList({ blobDigest, blobSizeBytes }: ChunkListFile): Descriptor {
  return { mediaType: SNAPSHOT_MEDIA_TYPES.chunks, digest: blobDigest, size: blobSizeBytes };
}

function pairOf(file: VolumeFile, mediaType: string): Descriptor[] {
  return [
    { mediaType, digest: file.blobDigest, size: file.blobSizeBytes },
    { mediaType: SNAPSHOT_MEDIA_TYPES.pieces, digest: file.piecesDigest, size: file.piecesSizeBytes },
  ];
}
