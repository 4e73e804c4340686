import { type FileHandle, open, writeFile } from 'node:fs/promises';
import {
  Digester,
  digestOf,
  EROFS_BLOCK_BYTES,
  encodePieceTable,
  type Piece,
  type VolumeFile,
} from '@drakkar/protocol';
import { writeFully } from './file.ts';
import { encodeSeekTable, type Frame } from './seek-table.ts';
import { dataSpans } from './zeros.ts';
import { compressFrame } from './zstd.ts';

export interface VolumeFileWriterOptions {
  /** Without extension: `.raw`, `.blob` and `.pieces` are added. */
  readonly basePath: string;
  readonly blockBytes: number;
  readonly compressionLevel: number;
  /** Awaited before bytes are written to disk. */
  readonly reserve: (bytes: number) => Promise<void>;
}

/** A finished file in its three forms, on disk. */
export interface StagedFile {
  readonly file: VolumeFile;
  readonly rawPath: string;
  readonly blobPath: string;
  readonly piecesPath: string;
}

/** Blocks that are compressed and written at the same time: enough for two cores and a disk. */
const MAX_BLOCKS_IN_FLIGHT = 4;

/** A disk that is told to write early has less left to do at the end. */
const SYNC_EVERY_BYTES = 64 * 1024 * 1024;

/**
 * Writes one file of a snapshot in both forms at once: raw and sparse as it will be mounted, and as a zstd seekable
 * blob with its piece table. The same bytes give the same files, whatever the parts they arrive in.
 *
 * The blob: one frame per `blockBytes` raw bytes, each a piece; then the seek table, which is the last piece.
 */
export class VolumeFileWriter {
  readonly #options: VolumeFileWriterOptions;
  readonly #raw: FileHandle;
  readonly #blob: FileHandle;
  readonly #rawDigester = new Digester();
  readonly #blobDigester = new Digester();
  readonly #frames: Frame[] = [];
  readonly #pieces: Piece[] = [];
  readonly #spare: Buffer[] = [];
  #block: Buffer;
  #filled = 0;
  #sizeBytes = 0;
  #inFlight = 0;
  #unsyncedBytes = 0;
  /** Blocks' frames reach the blob in their order, one after the other. */
  #tail: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  private constructor(options: VolumeFileWriterOptions, raw: FileHandle, blob: FileHandle) {
    this.#options = options;
    this.#raw = raw;
    this.#blob = blob;
    this.#block = Buffer.allocUnsafeSlow(options.blockBytes);
  }

  static async create(options: VolumeFileWriterOptions): Promise<VolumeFileWriter> {
    const raw = await open(`${options.basePath}.raw`, 'wx');
    try {
      return new VolumeFileWriter(options, raw, await open(`${options.basePath}.blob`, 'wx'));
    } catch (error) {
      await raw.close();
      throw error;
    }
  }

  /** Raw bytes so far, padding included. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Takes a copy of the bytes. Heed {@link ready} between calls: memory is bounded only then. */
  append(bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      const length = Math.min(bytes.length - done, this.#block.length - this.#filled);
      this.#block.set(bytes.subarray(done, done + length), this.#filled);
      this.#advance(length);
      done += length;
    }
  }

  /** Zeros up to the next multiple of EROFS's block. */
  pad(): void {
    const rest = this.#sizeBytes % EROFS_BLOCK_BYTES;
    if (rest === 0) return;
    // A block of ours is a multiple of 4096, so the padding never crosses one.
    this.#block.fill(0, this.#filled, this.#filled + EROFS_BLOCK_BYTES - rest);
    this.#advance(EROFS_BLOCK_BYTES - rest);
  }

  /** Rejects with what went wrong in the background; `undefined` if there is nothing to wait for. */
  ready(): Promise<void> | undefined {
    if (this.#failure === undefined && this.#inFlight <= MAX_BLOCKS_IN_FLIGHT) return undefined;
    return this.#whenReady();
  }

  async #whenReady(): Promise<void> {
    while (this.#failure === undefined && this.#inFlight > MAX_BLOCKS_IN_FLIGHT) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #advance(length: number): void {
    this.#filled += length;
    this.#sizeBytes += length;
    if (this.#filled === this.#block.length) this.#dispatch();
  }

  #dispatch(): void {
    const buffer = this.#block;
    const raw = buffer.subarray(0, this.#filled);
    const position = this.#sizeBytes - raw.length;
    this.#block = this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#options.blockBytes);
    this.#filled = 0;
    this.#inFlight += 1;
    this.#rawDigester.update(raw);
    const compressed = compressFrame(raw, this.#options.compressionLevel);
    const written = this.#writeRaw(raw, position);
    const previous = this.#tail;
    this.#tail = this.#complete(previous, compressed, written, raw.length)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#inFlight -= 1;
        this.#spare.push(buffer);
        this.#wake?.();
      });
  }

  async #complete(
    previous: Promise<void>,
    compressed: Promise<Buffer>,
    written: Promise<void>,
    rawBytes: number,
  ): Promise<void> {
    const [frame] = await Promise.all([compressed, written, previous]);
    this.#frames.push({ compressedBytes: frame.length, rawBytes });
    await this.#appendPiece(frame);
  }

  async #writeRaw(raw: Buffer, position: number): Promise<void> {
    const spans = dataSpans(raw, EROFS_BLOCK_BYTES);
    await this.#options.reserve(spans.reduce((sum, { start, end }) => sum + end - start, 0));
    for (const { start, end } of spans)
      await writeFully(this.#raw, raw.subarray(start, end), position + start);
    this.#unsyncedBytes += raw.length;
    if (this.#unsyncedBytes >= SYNC_EVERY_BYTES) {
      this.#unsyncedBytes = 0;
      await this.#raw.datasync();
    }
  }

  async #appendPiece(bytes: Buffer): Promise<void> {
    const offset = this.#blobDigester.sizeBytes;
    this.#blobDigester.update(bytes);
    this.#pieces.push({ offset, length: bytes.length, sha256: digestOf(bytes) });
    await this.#options.reserve(bytes.length);
    await writeFully(this.#blob, bytes, offset);
  }

  /** Completes and syncs all three files. */
  async finish(): Promise<StagedFile> {
    if (this.#filled > 0) this.#dispatch();
    await this.#tail;
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#appendPiece(encodeSeekTable(this.#frames));
    await this.#raw.truncate(this.#sizeBytes);
    await Promise.all([this.#raw.sync(), this.#blob.sync()]);
    await this.close();
    const blobDigest = this.#blobDigester.digest();
    const blobSizeBytes = this.#blobDigester.sizeBytes;
    const table = encodePieceTable({ digest: blobDigest, sizeBytes: blobSizeBytes, pieces: this.#pieces });
    const { basePath } = this.#options;
    await this.#options.reserve(table.length);
    await writeFile(`${basePath}.pieces`, table, { flag: 'wx', flush: true });
    return {
      file: {
        rawDigest: this.#rawDigester.digest(),
        rawSizeBytes: this.#sizeBytes,
        blobDigest,
        blobSizeBytes,
        piecesDigest: digestOf(table),
        piecesSizeBytes: table.length,
      },
      rawPath: `${basePath}.raw`,
      blobPath: `${basePath}.blob`,
      piecesPath: `${basePath}.pieces`,
    };
  }

  /** Ends what runs in the background and closes the files; also after a failure. */
  async close(): Promise<void> {
    await this.#tail;
    await Promise.allSettled([this.#raw.close(), this.#blob.close()]);
  }
}
