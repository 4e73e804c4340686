/**
 * The merged tree of an image, as the layers make it and the EROFS writer reads it.
 *
 * Names and link targets are any bytes: they are kept as strings with one character per byte (`latin1`), so that
 * comparing strings compares bytes.
 */

/** Attributes that every kind of inode has. Two names of one {@link Inode} object are hard links of each other. */
export interface Attributes {
  /** Permission bits with setuid, setgid and sticky: 0–0o7777. */
  mode: number;
  uid: number;
  gid: number;
  mtimeSeconds: number;
  mtimeNanoseconds: number;
  /** Full names (`security.capability`) in bytes as `latin1`, to values. `undefined` for none. */
  xattrs: Map<string, Uint8Array> | undefined;
}

export interface File extends Attributes {
  readonly kind: 'file';
  content: FileContent;
}

export interface Directory extends Attributes {
  readonly kind: 'directory';
  readonly entries: Map<string, Inode>;
}

export interface SymbolicLink extends Attributes {
  readonly kind: 'symlink';
  readonly target: string;
}

export interface DeviceNode extends Attributes {
  readonly kind: 'character' | 'block';
  readonly major: number;
  readonly minor: number;
}

export interface Fifo extends Attributes {
  readonly kind: 'fifo';
}

export type Inode = File | Directory | SymbolicLink | DeviceNode | Fifo;

/**
 * Where a file's bytes lie. A file is cut into chunks of `2 ** chunkBits` bytes; runs are in ascending order of
 * `firstChunk` and do not overlap; what no run covers is a hole that reads as zeros.
 */
export interface FileContent {
  readonly sizeBytes: number;
  /** At least 12. Meaningless where there are no runs. */
  readonly chunkBits: number;
  readonly runs: readonly ChunkRun[];
}

/** `chunkCount` chunks that follow each other both in the file and on the device. */
export interface ChunkRun {
  readonly firstChunk: number;
  readonly chunkCount: number;
  /** Index of the device in the snapshot, from 0. */
  readonly device: number;
  /** Block of 4096 bytes on the device at which the first of the chunks begins. */
  readonly startBlock: number;
}

export const EMPTY_CONTENT: FileContent = { sizeBytes: 0, chunkBits: 12, runs: [] };

/**
 * Takes the bytes of files, in the order of the layer, and says where they will lie. Implemented by the build.
 * Only one writer is open at a time.
 */
export interface ContentSink {
  begin(sizeBytes: number): ContentWriter;
}

export interface ContentWriter {
  /**
   * Bytes of the file from `offset` on; offsets ascend, gaps are holes. The bytes are only valid during the call.
   * A promise is returned, and must be awaited, only when the sink needs a pause.
   */
  write(offset: number, bytes: Uint8Array): Promise<void> | undefined;
  /** Ends the file. */
  end(): FileContent;
}
