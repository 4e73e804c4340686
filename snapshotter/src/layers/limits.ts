/**
 * Bounds on what the layers of one image may contain. Generous: no image that is meant to run comes near them; each
 * stops an attack on memory, disk or time. Where a bound is a format's own, its source is named.
 */
export interface LayerLimits {
  /** Tar entries in all layers together. An entry costs about 350 bytes of memory. */
  readonly entries: number;
  /** One path, resolved, without the leading slash. Linux: PATH_MAX. */
  readonly pathBytes: number;
  /** One PAX header, GNU long name or sparse map. Go's archive/tar, which containerd uses, has the same bound. */
  readonly metaEntryBytes: number;
  /** All extended attributes of one entry, names and values. Linux bounds one value alike: XATTR_SIZE_MAX. */
  readonly xattrBytes: number;
  /** Names, link targets and extended attributes of all layers together: what is kept in memory. */
  readonly metadataBytes: number;
  /** Size of one file, holes included. */
  readonly fileBytes: number;
  /**
   * Work to find paths in all layers together, in components looked up and, where links are followed, characters
   * compared. An ordinary image needs some thousands of times less; this much takes a minute at most.
   */
  readonly pathSteps: number;
  /** Uncompressed bytes of all layers together: what a decompression bomb would pass. */
  readonly totalBytes: number;
}

const KIBIBYTE = 1024;
const MEBIBYTE = 1024 * KIBIBYTE;
const GIBIBYTE = 1024 * MEBIBYTE;

export const DEFAULT_LAYER_LIMITS: LayerLimits = {
  entries: 2_000_000,
  pathBytes: 4 * KIBIBYTE,
  metaEntryBytes: MEBIBYTE,
  xattrBytes: 64 * KIBIBYTE,
  metadataBytes: 256 * MEBIBYTE,
  fileBytes: 256 * GIBIBYTE,
  pathSteps: 2_000_000_000,
  totalBytes: 512 * GIBIBYTE,
};

/** One component of a path. Linux: NAME_MAX; EROFS cannot hold more either. */
export const MAX_NAME_BYTES = 255;
