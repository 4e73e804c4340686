import {
  type Descriptor,
  SNAPSHOT_MEDIA_TYPES,
  type SnapshotConfig,
  type VolumeFile,
} from '@drakkar/protocol';

/** The layers of an artifact, in their one order: blob and piece table of the meta, then of each device in slot order. */
export function layersOf(config: SnapshotConfig): Descriptor[] {
  return [
    ...pairOf(config.meta, SNAPSHOT_MEDIA_TYPES.meta),
    ...config.devices.flatMap((device) => pairOf(device, SNAPSHOT_MEDIA_TYPES.device)),
  ];
}

function pairOf(file: VolumeFile, mediaType: string): Descriptor[] {
  return [
    { mediaType, digest: file.blobDigest, size: file.blobSizeBytes },
    { mediaType: SNAPSHOT_MEDIA_TYPES.pieces, digest: file.piecesDigest, size: file.piecesSizeBytes },
  ];
}
