import { type Cut, DrakkarError, lengthOf } from '@drakkar/protocol';
import type { BlobSource, Traffic } from '../contract.ts';
import { PieceCutter, type WholePiece } from '../cutter.ts';
import { type PieceRange, piecesOf } from './ranges.ts';

/** `urgent` reads are several and short, so that none waits for another; `ordered` is one at a time. */
export type Lane = 'urgent' | 'ordered';

const READS: Readonly<Record<Lane, number>> = { urgent: 4, ordered: 1 };

export interface UpstreamReadsOptions {
  readonly source: BlobSource;
  readonly cut: Cut;
  /** Of all downloads. */
  readonly traffic: Traffic;
  readonly signal: AbortSignal;
  /** Pieces are asked for from now on. */
  asked(pieces: readonly number[]): void;
  /** A piece has come whose bytes are what the table says. @returns false where nobody needs it any more */
  take(whole: WholePiece): Promise<boolean>;
  /** These have not come. */
  failed(pieces: readonly number[], cause: unknown): void;
  /** Bytes came that are of no use. */
  discarded(bytes: number): void;
  /** A read has ended: there is room for another. */
  ended(): void;
}

/** Reads ranges of a blob upstream, and lets through what the trusted table names. */
export class UpstreamReads {
  readonly #options: UpstreamReadsOptions;
  /** By piece that has not come yet. */
  readonly #reading = new Set<number>();
  readonly #running: Record<Lane, Set<Promise<void>>> = { urgent: new Set(), ordered: new Set() };

  constructor(options: UpstreamReadsOptions) {
    this.#options = options;
  }

  hasRoom(lane: Lane): boolean {
    return this.#running[lane].size < READS[lane];
  }

  isReading(piece: number): boolean {
    return this.#reading.has(piece);
  }

  start(range: PieceRange, lane: Lane): void {
    const pieces = piecesOf(range);
    for (const piece of pieces) this.#reading.add(piece);
    this.#options.asked(pieces);
    const running: Promise<void> = this.#read(range).then(() => {
      this.#running[lane].delete(running);
      this.#options.ended();
    });
    this.#running[lane].add(running);
  }

  /** Returns when nothing runs any more: soon, once the signal has said so. */
  async settled(): Promise<void> {
    await Promise.all([...this.#running.urgent, ...this.#running.ordered]);
  }

  /** Never rejects: what has not come has failed. */
  async #read(range: PieceRange): Promise<void> {
    const left = new Set(piecesOf(range));
    let cause: unknown;
    try {
      await this.#readInto(left, range);
      if (left.size > 0) cause = this.#broken('came shorter than its size');
    } catch (error) {
      cause = error;
    }
    for (const piece of left) this.#reading.delete(piece);
    if (left.size > 0) this.#options.failed([...left], cause);
  }

  async #readInto(left: Set<number>, { first, last }: PieceRange): Promise<void> {
    const { source, cut, traffic, signal, discarded } = this.#options;
    const range = { startBytes: cut.start(first), endBytes: cut.end(last) };
    const { sizeBytes, chunks } = await source.open(range, signal);
    if (sizeBytes !== undefined && sizeBytes !== cut.sizeBytes) {
      await chunks.return();
      throw this.#broken(`has ${sizeBytes} bytes instead of ${cut.sizeBytes}`);
    }
    const cutter = new PieceCutter(cut, first);
    /** Of bytes that have come for no whole piece yet. */
    let unused = 0;
    try {
      for await (const chunk of chunks) {
        traffic.upstreamBytes += chunk.length;
        unused += chunk.length;
        for (const whole of cutter.take(chunk)) {
          left.delete(whole.piece);
          unused -= lengthOf(cut, whole.piece);
          await this.#take(whole);
        }
      }
    } finally {
      discarded(unused);
    }
  }

  async #take(whole: WholePiece): Promise<void> {
    const { cut, take, failed, discarded } = this.#options;
    const { piece, sha256 } = whole;
    const isRight = Buffer.compare(sha256, cut.sha256(piece) ?? Buffer.alloc(0)) === 0;
    const isOfUse = isRight && (await take(whole));
    this.#reading.delete(piece);
    if (!isOfUse) discarded(lengthOf(cut, piece));
    if (!isRight)
      failed([piece], this.#broken(`has other bytes in piece ${piece} than its piece table says`));
  }

  #broken(what: string): DrakkarError {
    const { source } = this.#options;
    return new DrakkarError('invalid_content', `${source.what} ${what}`, {
      hint: `the ${source.kind} or something before it is broken`,
    });
  }
}
