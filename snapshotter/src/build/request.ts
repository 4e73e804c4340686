import type { Digest, ErrorDocument, SnapshotConfig, Trace } from '@drakkar/protocol';
import type { StagedFile } from '../blob/index.ts';
import { DEFAULT_LAYER_LIMITS, type LayerLimits } from '../layers/index.ts';
import type { FileRange } from '../trace/index.ts';
import type { DictionarySource } from './dictionary.ts';

/** Bounds on an image, all generous: see {@link LayerLimits}. */
export interface BuildLimits extends LayerLimits {
  /** Raw bytes per compressed byte, of the layers so far, once {@link freeBytes} are used up. */
  readonly expansionRatio: number;
  /** Raw bytes that are never held against an image, however well they compress. */
  readonly freeBytes: number;
  /** Chunk indexes of all files of the image, holes included. */
  readonly chunks: number;
}

/** Gzip cannot expand more than 1032 times; real layers expand 2 to 5 times, and sparse ones far more. */
export const DEFAULT_BUILD_LIMITS: BuildLimits = {
  ...DEFAULT_LAYER_LIMITS,
  expansionRatio: 200,
  freeBytes: 16 * 1024 ** 3,
  chunks: 16 * 1024 * 1024,
};

/**
 * Level 3 with frames of 512 KiB compresses a Debian layer 3.03 times, gzip -6 3.00, level 2 2.92, level 1 2.74; a core
 * does 224, 258 and 299 MB/s [measured].
 */
export const DEFAULT_COMPRESSION_LEVEL = 3;

/** No progress for so long, with input at hand, and the builder is ended. */
export const DEFAULT_STALL_TIMEOUT_MS = 5 * 60_000;

/**
 * Bound on the builder's JavaScript heap, which holds the tree: about 600 bytes a file. A million files make the process
 * 800 MiB large, forty thousand 150 MiB whatever their sizes [measured]. Chunks and buffers lie outside of it.
 */
export const DEFAULT_HEAP_MEBIBYTES = 1024;

export interface BuildLayer {
  readonly digest: Digest;
  /** Of the blob, compressed as it is. */
  readonly sizeBytes: number;
}

export interface BuildRequest {
  /** How messages name the image. */
  readonly image: string;
  readonly manifestDigest: Digest;
  /** Lowest first. */
  readonly layers: readonly BuildLayer[];
  /** Of the image's config, one per layer. */
  readonly diffIds: readonly Digest[];
  /** When the image was made: the time of whatever no layer gives a time. */
  readonly createdSeconds: number;
  /** Exists and is empty; gets the files. */
  readonly outputDir: string;
  /** What it has need not be stored again. One that can't be read is not used. */
  readonly dictionary?: DictionarySource;
  /**
   * What starts read, in that order, as they did of an earlier snapshot. Of the devices that are new it lies together on one of its own as well; what is
   * not in the image is left out.
   */
  readonly reads?: readonly FileRange[];
  readonly blockBytes?: number;
  readonly compressionLevel?: number;
  readonly limits?: Partial<BuildLimits>;
  readonly stallTimeoutMs?: number;
  readonly heapMebibytes?: number;
}

/** A snapshot that is to be laid out anew, for it has been learned what starts of it read. */
export interface RearrangeRequest {
  /** How messages name the image. */
  readonly image: string;
  readonly config: SnapshotConfig;
  /** The raw meta. */
  readonly metaPath: string;
  /** Raw files of the devices, by slot; `null` for those of which nothing may lie on the start device. */
  readonly rawPaths: readonly (string | null)[];
  /** What starts read of the devices, in that order. */
  readonly reads: Trace;
  /** Exists and is empty; gets the files. */
  readonly outputDir: string;
  readonly compressionLevel?: number;
  readonly stallTimeoutMs?: number;
  readonly heapMebibytes?: number;
}

/** What the builder process makes of a snapshot that is laid out anew. */
export interface Rearranged {
  readonly config: SnapshotConfig;
  readonly meta: StagedFile;
  /** The start device; the others are as they were. */
  readonly devices: readonly StagedFile[];
}

export interface RearrangeResult extends Rearranged {
  /** Every file of `meta` and `devices`. */
  readonly files: readonly OutputFile[];
}

export interface BuildProgress {
  readonly phase: 'layers' | 'meta';
  /** Index of the layer that is read, from 0. */
  readonly layer: number;
  /** Of all layers so far. */
  readonly compressedBytes: number;
  readonly rawBytes: number;
}

export interface BuildModules {
  /** The blob of a layer, of exactly its size; called once per layer, in order. */
  openLayer(index: number, options: { readonly signal: AbortSignal }): AsyncIterable<Uint8Array>;
  /** Called before so many bytes more are written; the build waits, and fails if this does. */
  reserve(bytes: number): Promise<void>;
  onProgress(progress: BuildProgress): void;
}

/** A file that a build left in its directory. */
export interface OutputFile {
  readonly path: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Raw files are volumes; blobs and piece tables are what travels. */
  readonly kind: 'volume' | 'blob';
}

export interface BuildStats {
  readonly compressedBytes: number;
  /** Of the uncompressed tar streams. */
  readonly rawBytes: number;
  /** Names in the merged tree. */
  readonly inodes: number;
  /** Bytes of all files of all layers. */
  readonly fileBytes: number;
  readonly dedupedBytes: number;
  /** Bytes that the dictionary has. */
  readonly dictionaryBytes: number;
  readonly holeBytes: number;
  readonly chunks: number;
  readonly layersMs: number;
  readonly metaMs: number;
  /** User and system time of the builder process. */
  readonly cpuMs: number;
  readonly peakRssBytes: number;
}

/** What the builder process makes. */
export interface Built {
  readonly config: SnapshotConfig;
  readonly meta: StagedFile;
  /** The devices that are new; the others in the config are those of the dictionary. */
  readonly devices: readonly StagedFile[];
  /** The blob of the chunk list that the config names. */
  readonly chunksPath: string | null;
  /** Why the dictionary was not used. */
  readonly dictionaryFailure: ErrorDocument | null;
  /**
   * Raw digests of devices of the dictionary that are worth nothing to this image: built again without them, the snapshot
   * is far smaller.
   */
  readonly hardlyUsed: readonly Digest[];
  /** All that was asked of {@link BuildModules.reserve}; at least what the files take. */
  readonly reservedBytes: number;
  readonly stats: BuildStats;
}

export interface BuildResult extends Built {
  /** Every file of `meta` and `devices`, and the chunk list. */
  readonly files: readonly OutputFile[];
}
