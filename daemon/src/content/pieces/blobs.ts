import { type Digest, DrakkarError, lengthOf, type NamedPieceTable } from '@drakkar/protocol';
import type { CompleteOptions, PieceBlob, PieceBlobRequest, WantOptions } from '../contract.ts';
import type { DownloadModules } from '../download.ts';
import type { ReceiptCounter } from '../receipt.ts';
import { PieceDownload } from './download.ts';

/** Blobs of which pieces are had, each once however many have it open. */
export class PieceBlobs {
  readonly #limit: number;
  readonly #modules: DownloadModules;
  readonly #open = new Map<Digest, PieceDownload>();

  constructor(limit: number, modules: DownloadModules) {
    this.#limit = limit;
    this.#modules = modules;
  }

  get size(): number {
    return this.#open.size;
  }

  find(digest: Digest): PieceDownload | undefined {
    return this.#open.get(digest);
  }

  /** @throws `busy` where it is open, cut by another table; `limit_exceeded`; why it can't be had */
  async open(request: PieceBlobRequest, table: NamedPieceTable, receipt: ReceiptCounter): Promise<PieceBlob> {
    for (;;) {
      const known = this.#open.get(request.digest);
      if (known?.isEnding === true) {
        await known.closed;
        continue;
      }
      if (known !== undefined && known.table.digest !== table.digest) {
        throw new DrakkarError('busy', `${request.digest} is open already, cut by another table`);
      }
      const download = known ?? this.#begin(request, table, receipt);
      download.enter();
      try {
        await download.opened;
        return new OpenPieces(download, receipt);
      } catch (error) {
        await download.leave();
        throw error;
      }
    }
  }

  /** Makes a blob complete that may be open. */
  async complete(digest: Digest, receipt: ReceiptCounter, signal: AbortSignal): Promise<void> {
    const download = this.#open.get(digest);
    if (download?.isEnding !== false) {
      await download?.closed;
      return;
    }
    download.enter();
    try {
      await download.opened;
      await download.complete({ signal }, receipt);
    } finally {
      await download.leave();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((download) => download.end('the daemon stops')));
  }

  #begin(request: PieceBlobRequest, table: NamedPieceTable, receipt: ReceiptCounter): PieceDownload {
    if (this.#open.size >= this.#limit) {
      throw new DrakkarError('limit_exceeded', `pieces of ${this.#limit} blobs are had already`, {
        hint: 'unmount what is no longer needed',
      });
    }
    const download = new PieceDownload(request, table, receipt, this.#modules);
    this.#open.set(request.digest, download);
    void download.closed.then(() => this.#open.delete(request.digest));
    return download;
  }
}

/** What one of those sees who have a blob open. */
class OpenPieces implements PieceBlob {
  readonly #download: PieceDownload;
  readonly #receipt: ReceiptCounter;
  /** Pieces whose bytes the receipt knows of. */
  readonly #counted = new Set<number>();
  #left: Promise<void> | undefined;

  constructor(download: PieceDownload, receipt: ReceiptCounter) {
    this.#download = download;
    this.#receipt = receipt;
  }

  get table() {
    return this.#download.table.table;
  }

  get path(): string {
    return this.#download.path;
  }

  get presentPieces(): number {
    return this.#download.presentPieces;
  }

  has(piece: number): boolean {
    return this.#download.has(piece);
  }

  async want(pieces: readonly number[], options: WantOptions): Promise<void> {
    const beyond = pieces.find((piece) => !Number.isInteger(piece) || piece < 0 || piece >= this.#count);
    if (beyond !== undefined) {
      throw new DrakkarError('invalid_argument', `there is no piece ${beyond} of ${this.table.digest}`);
    }
    this.#countPresent(pieces);
    await this.#download.want(pieces, options, this.#receipt);
  }

  async complete(options: CompleteOptions): Promise<void> {
    this.#countPresent(this.#all);
    await this.#download.complete(options, this.#receipt);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#left ??= this.#download.leave();
    return this.#left;
  }

  get #count(): number {
    return this.#download.cut.pieceCount;
  }

  get #all(): number[] {
    return Array.from({ length: this.#count }, (_, piece) => piece);
  }

  /** What is not here yet is counted as it comes. */
  #countPresent(pieces: readonly number[]): void {
    for (const piece of pieces) {
      if (this.#counted.has(piece)) continue;
      this.#counted.add(piece);
      if (this.has(piece)) this.#receipt.fromStore(lengthOf(this.#download.cut, piece));
    }
  }
}
