import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import {
  type Cut,
  type Digest,
  DrakkarError,
  isDrakkarError,
  lengthOf,
  toDrakkarError,
} from '@drakkar/protocol';
import type { PieceRow } from './index-file.ts';

/** Bytes of one content in the making. One writer at a time; what it has made durable outlives it. */
export interface ContentWriter {
  readonly digest: Digest;
  readonly cut: Cut;
  /** Where its bytes lie, each at its place in the blob: now, and when it is complete. */
  readonly path: string;
  /** How many pieces are there. */
  readonly presentPieces: number;
  /** Whether a piece was there when the writer was opened, or has been written since. */
  has(piece: number): boolean;
  /**
   * Bytes from `offset` on, which is the start of a piece or where the last write ended. They are readable when this
   * returns, and durable with one of the next batches.
   * @throws `no_space` on a full disk; after any failure the writer only aborts
   */
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /**
   * A whole piece, in whatever order, with the sha256 that its bytes are known to have. Durable as what {@link write} writes. A piece is
   * written once: who comes second, with other bytes perhaps, changes nothing. @returns whether these bytes were written
   * @throws `no_space` on a full disk: the piece is not here, and may be written when there is room
   */
  writePiece(piece: number, buffers: readonly Uint8Array[], sha256: Buffer): Promise<boolean>;
  /** The sha256 of the pieces that were there when the writer was opened. */
  readonly presentHashes: ReadonlyMap<number, Uint8Array>;
  /** Bytes that have been written or were present. @returns how many were read */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Makes durable at once what is waiting for its batch. @throws `no_space` */
  flush(): Promise<void>;
  /**
   * All pieces are here and the caller has verified the whole digest: durable and complete when this returns. The writer can
   * still be read, until it is closed.
   */
  finish(): Promise<void>;
  /**
   * The same where nobody knew the digest, which turned out to be this one: the content is under it from now on. Where that was in the
   * store already, that one stays, and the writer's bytes are to be discarded. @returns whether the writer's bytes are the content
   */
  finishAs(digest: Digest): Promise<boolean>;
  /** Ends the writer; pieces that are whole are kept for the next one. */
  close(): Promise<void>;
  /** Stops and removes everything: the bytes are not what the digest says. */
  discard(): Promise<void>;
}

/** What a writer needs of the store. */
export interface WriterHome {
  recordPieces(digest: Digest, pieces: readonly PieceRow[]): void;
  completed(digest: Digest): void;
  /** Complete, under another digest. @returns false where the store had that already */
  renamed(from: Digest, to: Digest): Promise<boolean>;
  /** The file is closed and the digest free for others; `remove` takes the content with it. */
  released(digest: Digest, remove: boolean): void;
}

/** Written and not yet durable, at most: one `fdatasync` then pays for many pieces. */
const BATCH_BYTES = 32 * 1024 * 1024;
/** On a slow link a piece waits no longer than this. */
const BATCH_MS = 5_000;

export class FileWriter implements ContentWriter {
  readonly digest: Digest;
  readonly cut: Cut;
  readonly path: string;
  readonly presentHashes: ReadonlyMap<number, Uint8Array>;
  readonly #file: FileHandle;
  readonly #home: WriterHome;
  readonly #present: Set<number>;
  /** Pieces that are on their way to the file. */
  readonly #writing = new Map<number, Promise<void>>();
  #cursor = -1;
  #hash: Hash = createHash('sha256');
  #pending: PieceRow[] = [];
  #pendingBytes = 0;
  #lastFlushMs = performance.now();
  #flushing: Promise<void> = Promise.resolve();
  #isFlushing = false;
  #failure: DrakkarError | undefined;
  /** Why the index did not take the last batch. */
  #unrecorded: DrakkarError | undefined;
  #closed: Promise<void> | undefined;

  constructor(
    content: Pick<ContentWriter, 'digest' | 'cut' | 'path' | 'presentHashes'>,
    file: FileHandle,
    home: WriterHome,
  ) {
    this.digest = content.digest;
    this.cut = content.cut;
    this.path = content.path;
    this.presentHashes = content.presentHashes;
    this.#present = new Set(content.presentHashes.keys());
    this.#file = file;
    this.#home = home;
  }

  get presentPieces(): number {
    return this.#present.size;
  }

  has(piece: number): boolean {
    return this.#present.has(piece);
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const total = buffers.reduce((sum, { length }) => sum + length, 0);
    const { cut } = this;
    const continues = offset === this.#cursor || offset === cut.start(cut.pieceAt(offset));
    if (this.#closed !== undefined || !continues || offset + total > cut.sizeBytes) {
      throw new DrakkarError(
        'internal',
        `a write of ${total} bytes at ${offset} of ${this.digest} is out of place`,
      );
    }
    try {
      await writeAll(this.#file, buffers, offset);
    } catch (error) {
      throw this.#fail(error);
    }
    if (offset !== this.#cursor) this.#hash = createHash('sha256');
    this.#cursor = offset;
    for (const buffer of buffers) this.#account(buffer);
    await this.#flushIfDue();
  }

  async writePiece(piece: number, buffers: readonly Uint8Array[], sha256: Buffer): Promise<boolean> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#present.has(piece)) return false;
    const first = this.#writing.get(piece);
    if (first !== undefined) {
      await first;
      return false;
    }
    const writing = this.#writePiece(piece, buffers, sha256);
    this.#writing.set(piece, writing);
    try {
      await writing;
      return true;
    } finally {
      this.#writing.delete(piece);
    }
  }

  async #writePiece(piece: number, buffers: readonly Uint8Array[], sha256: Buffer): Promise<void> {
    const length = buffers.reduce((sum, { length }) => sum + length, 0);
    const isIt = sha256.equals(this.cut.sha256(piece) ?? sha256);
    if (this.#closed !== undefined || !isIt || length !== lengthOf(this.cut, piece)) {
      throw new DrakkarError('internal', `${length} bytes are not piece ${piece} of ${this.digest}`);
    }
    try {
      await writeAll(this.#file, buffers, this.cut.start(piece));
    } catch (error) {
      throw toDrakkarError(error, 'unavailable');
    }
    this.#written(piece, sha256);
    await this.#flushIfDue();
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    return (await this.#file.read(buffer, 0, buffer.length, position)).bytesRead;
  }

  async flush(): Promise<void> {
    await this.#flush();
  }

  async finish(): Promise<void> {
    await this.#flushAll();
    this.#home.completed(this.digest);
  }

  async finishAs(digest: Digest): Promise<boolean> {
    await this.#flushAll();
    return await this.#home.renamed(this.digest, digest);
  }

  async #flushAll(): Promise<void> {
    await Promise.all(this.#writing.values());
    await this.#flush();
    const missing = this.cut.pieceCount - this.#present.size;
    if (missing > 0) {
      throw this.#fail(
        new DrakkarError('internal', `${missing} pieces of ${this.digest} are missing at its end`),
      );
    }
  }

  async close(): Promise<void> {
    try {
      if (this.#failure === undefined && this.#closed === undefined) await this.#flush();
    } finally {
      await this.#close(false);
    }
  }

  discard(): Promise<void> {
    return this.#close(true);
  }

  #account(buffer: Uint8Array): void {
    let rest = buffer;
    while (rest.length > 0) {
      const piece = this.cut.pieceAt(this.#cursor);
      const end = this.cut.end(piece);
      const part = rest.subarray(0, end - this.#cursor);
      this.#hash.update(part);
      this.#cursor += part.length;
      rest = rest.subarray(part.length);
      if (this.#cursor < end) return;
      this.#written(piece, this.#hash.digest());
      this.#hash = createHash('sha256');
    }
  }

  #written(piece: number, sha256: Buffer): void {
    const row = { piece, start: this.cut.start(piece), end: this.cut.end(piece), sha256 };
    this.#pending.push(row);
    this.#pendingBytes += row.end - row.start;
    this.#present.add(piece);
  }

  async #flushIfDue(): Promise<void> {
    while (this.#isDue && this.#isFlushing) await this.#flushing;
    if (this.#isDue) this.#startFlush();
  }

  get #isDue(): boolean {
    const isOld = performance.now() - this.#lastFlushMs >= BATCH_MS;
    return this.#pending.length > 0 && (this.#pendingBytes >= BATCH_BYTES || isOld);
  }

  /** At most one runs at a time; what is written meanwhile waits for the next. */
  #startFlush(): void {
    const batch = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#lastFlushMs = performance.now();
    this.#isFlushing = true;
    this.#flushing = this.#makeDurable(batch)
      .catch((error) => {
        this.#fail(error);
      })
      .finally(() => {
        this.#isFlushing = false;
      });
  }

  async #makeDurable(batch: readonly PieceRow[]): Promise<void> {
    await this.#file.datasync();
    try {
      this.#home.recordPieces(this.digest, batch);
      this.#unrecorded = undefined;
    } catch (error) {
      if (!isDrakkarError(error, 'no_space')) throw error;
      // The bytes are on the disk: the next batch takes these along.
      this.#pending = [...batch, ...this.#pending];
      this.#unrecorded = error;
    }
  }

  async #flush(): Promise<void> {
    while (this.#isFlushing) await this.#flushing;
    if (this.#failure === undefined && this.#pending.length > 0) this.#startFlush();
    await this.#flushing;
    const failure = this.#failure ?? this.#unrecorded;
    if (failure !== undefined) throw failure;
  }

  #fail(error: unknown): DrakkarError {
    this.#failure ??= toDrakkarError(error, 'unavailable');
    return this.#failure;
  }

  #close(remove: boolean): Promise<void> {
    this.#closed ??= this.#closeFile(remove);
    return this.#closed;
  }

  async #closeFile(remove: boolean): Promise<void> {
    try {
      await this.#flushing;
      await this.#file.close();
    } finally {
      this.#home.released(this.digest, remove);
    }
  }
}

async function writeAll(file: FileHandle, buffers: readonly Uint8Array[], offset: number): Promise<void> {
  const total = buffers.reduce((sum, { length }) => sum + length, 0);
  let { bytesWritten } = await file.writev([...buffers], offset);
  if (bytesWritten === total) return;
  const whole = Buffer.concat(buffers, total);
  while (bytesWritten < total) {
    bytesWritten += (await file.write(whole, bytesWritten, total - bytesWritten, offset + bytesWritten))
      .bytesWritten;
  }
}
