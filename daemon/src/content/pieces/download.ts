import {
  type Cut,
  DrakkarError,
  fixedCut,
  isDrakkarError,
  lengthOf,
  type NamedPieceTable,
  tableCut,
  toDrakkarError,
} from '@drakkar/protocol';
import type { ContentReader, ContentWriter } from '../../store/index.ts';
import type { SwarmPieces } from '../../swarm/index.ts';
import type { Urgency } from '../../urgency.ts';
import type { BlobSource, CompleteOptions, PieceBlobRequest, WantOptions } from '../contract.ts';
import type { DownloadModules } from '../download.ts';
import type { ReceiptCounter } from '../receipt.ts';
import { originOf, sourceOf } from '../source.ts';
import { completePieces } from './complete.ts';
import { type PieceRange, rangeFrom } from './ranges.ts';
import { keepTable, openComplete } from './stored.ts';
import { type Lane, UpstreamReads } from './upstream.ts';
import { requireDigest } from './verify.ts';
import { type WantedPiece, Wants } from './wants.ts';

/**
 * What is urgent and has not come from a peer by then is read upstream, whoever may. A piece from a peer nearby takes a few
 * milliseconds, one over a slow link some tens; upstream is rarely nearer than either.
 */
const URGENT_PATIENCE_MS = 300;
/** An urgent read takes along what is wanted behind it, up to so much. */
const URGENT_RANGE_BYTES = 2 * 1024 * 1024;
/** A read of what nobody waits for is no longer, so that what is wanted meanwhile has its turn soon. */
const ORDERED_RANGE_BYTES = 8 * 1024 * 1024;
/** What upstream failed to give while a peer may is asked for there again. */
const RETRY_MS = 1_000;
/** Upstream has said that it has nothing of the blob: it is asked again, where it must be, no sooner than this. */
const ABSENT_MS = 30_000;
/** How often it is looked whether time has changed what may be done. */
const POLL_MS = 50;
/** Where nothing is wanted for so long, others get the lease, and what is here is made durable. */
const REST_MS = 1_000;

/**
 * One blob, cut by a trusted table, of which pieces are had as they are wanted. Shared by everybody who has it open: each piece is
 * fetched once. Peers are asked by the swarm; this decides what is read upstream, and when.
 */
export class PieceDownload {
  readonly table: NamedPieceTable;
  readonly cut: Cut;
  readonly origin: string;
  /** It can be asked for pieces; rejects where it can't be had at all. */
  readonly opened: Promise<void>;
  /** Nothing of it runs any more. */
  readonly closed: Promise<void>;
  readonly #request: PieceBlobRequest;
  readonly #modules: DownloadModules;
  readonly #receipt: ReceiptCounter;
  readonly #source: BlobSource;
  readonly #upstream: UpstreamReads;
  readonly #wants = new Wants();
  readonly #ending = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #writer: ContentWriter | undefined;
  /** Once it is complete. */
  #reader: ContentReader | undefined;
  #swarm: SwarmPieces | undefined;
  #path = '';
  #users = 0;
  #isWatching = false;
  /** What upstream has said that has nothing of it. */
  #absence: { readonly error: DrakkarError; readonly untilMs: number } | undefined;
  #finishing: Promise<void> | undefined;
  #rest: NodeJS.Timeout | undefined;

  constructor(
    request: PieceBlobRequest,
    table: NamedPieceTable,
    receipt: ReceiptCounter,
    modules: DownloadModules,
  ) {
    this.table = table;
    this.cut = tableCut(table.table);
    this.origin = originOf(request);
    this.closed = this.#ended.promise;
    this.#request = request;
    this.#modules = modules;
    this.#receipt = receipt;
    this.#source = sourceOf(request, modules.client);
    this.#upstream = new UpstreamReads({
      source: this.#source,
      cut: this.cut,
      traffic: modules.traffic,
      signal: this.#ending.signal,
      asked: (pieces) => {
        for (const piece of pieces) this.#swarm?.askUpstream(piece);
      },
      take: ({ piece, buffers, sha256 }) =>
        this.#take(piece, buffers, sha256, (payer, bytes) => {
          payer.fromUpstream(bytes);
          this.#swarm?.arrivedUpstream(piece, sha256);
        }),
      failed: (pieces, cause) => this.#failed(pieces, cause),
      discarded: (bytes) => receipt.discarded(bytes),
      ended: () => this.#step(),
    });
    this.opened = this.#open();
    this.opened.catch(() => {});
  }

  get isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  get isComplete(): boolean {
    return this.#reader !== undefined;
  }

  get path(): string {
    return this.#path;
  }

  get swarm(): SwarmPieces | undefined {
    return this.#swarm;
  }

  get presentPieces(): number {
    return this.isComplete ? this.cut.pieceCount : (this.#writer?.presentPieces ?? 0);
  }

  has(piece: number): boolean {
    return piece < this.cut.pieceCount && (this.isComplete || this.#writer?.has(piece) === true);
  }

  isWanted(piece: number): boolean {
    return this.#wants.get(piece) !== undefined;
  }

  enter(): void {
    this.#users += 1;
  }

  /** The last one's leaving ends it; what is here is kept. */
  async leave(): Promise<void> {
    this.#users -= 1;
    if (this.#users === 0) await this.end('nobody has it open any more');
  }

  async end(why: string): Promise<void> {
    if (!this.isEnding) {
      const error = new DrakkarError('cancelled', `${this.#request.digest} is had no further: ${why}`);
      this.#ending.abort(error);
      this.#wants.failAll(error);
      void this.#close();
    }
    await this.closed;
  }

  /** Pieces that are missing. @throws as {@link PieceBlob.want} */
  async want(
    pieces: readonly number[],
    { urgent, signal }: WantOptions,
    receipt: ReceiptCounter,
  ): Promise<void> {
    await this.#want(pieces, urgent ? 'urgent' : 'soon', receipt, signal);
  }

  /** What belongs to the whole, behind everything that is wanted. */
  async wantRest(pieces: readonly number[], receipt: ReceiptCounter, signal: AbortSignal): Promise<void> {
    await this.#want(pieces, 'rest', receipt, signal);
  }

  async complete(options: CompleteOptions, receipt: ReceiptCounter): Promise<void> {
    if (this.isComplete) return;
    await completePieces(this, options, receipt);
    this.#finishing ??= this.#finish().finally(() => {
      this.#finishing = undefined;
    });
    await this.#finishing;
  }

  async #want(
    pieces: readonly number[],
    urgency: Urgency,
    receipt: ReceiptCounter,
    signal: AbortSignal,
  ): Promise<void> {
    this.#ending.signal.throwIfAborted();
    const missing = pieces.filter((piece) => !this.has(piece));
    if (missing.length === 0) return;
    const waiting = this.#wants.wait(missing, urgency, receipt, performance.now(), signal, (dropped) =>
      this.#swarm?.drop(dropped),
    );
    clearTimeout(this.#rest);
    this.#swarm?.fetch(
      missing.filter((piece) => this.isWanted(piece)),
      urgency,
    );
    this.#step();
    void this.#watch();
    await waiting;
  }

  async #open(): Promise<void> {
    try {
      await keepTable(this.#modules.store, this.table, this.origin);
      while (!(await this.#openStored()) && !(await this.#openWriter()));
    } catch (error) {
      void this.end('it cannot be opened');
      throw error;
    }
  }

  async #openStored(): Promise<boolean> {
    const { store, swarm } = this.#modules;
    const { digest } = this.#request;
    this.#reader = await openComplete(store, digest);
    if (this.#reader === undefined) return false;
    this.#path = store.pathOf(digest);
    const { table, origins = [] } = store.stat(digest) ?? {};
    if (table === this.table.digest) return true;
    store.setTable(digest, this.table.digest);
    for (const origin of origins) swarm?.offer({ digest, origin, table: this.table.digest }, this.cut);
    return true;
  }

  async #openWriter(): Promise<boolean> {
    const { store, swarm } = this.#modules;
    const { digest, sizeBytes } = this.#request;
    const { cut, origin, table } = this;
    try {
      this.#writer = await store.writer({ digest, sizeBytes, origin, table });
    } catch (error) {
      // Somebody has brought it meanwhile.
      if (isDrakkarError(error, 'already_exists')) return false;
      throw error;
    }
    const writer = this.#writer;
    this.#path = writer.path;
    // Of what is empty nobody has anything.
    if (cut.pieceCount === 0) return true;
    this.#swarm = swarm?.pieces(
      { name: { digest, origin, table: table.digest }, cut },
      {
        has: (piece) => writer.has(piece),
        sha256: (piece) => cut.sha256(piece),
        read: (buffer, position) => writer.read(buffer, position),
        close: async () => {},
      },
      {
        deliver: (piece, bytes, sha256, peer) =>
          this.#take(piece, [bytes], sha256, (payer, count) =>
            payer.fromPeer(peer, swarm.nameOf(peer), count),
          ),
        stalled: () => this.#receipt.stalled(),
        discarded: (bytes) => this.#receipt.discarded(bytes),
        failed: (error) => this.#wants.failAll(toDrakkarError(error, 'unavailable')),
      },
    );
    this.#restSoon();
    return true;
  }

  /** A verified piece. @returns whether it was missing, and is here now */
  async #take(
    piece: number,
    buffers: readonly Buffer[],
    sha256: Buffer,
    count: (payer: ReceiptCounter, bytes: number) => void,
  ): Promise<boolean> {
    const bytes = lengthOf(this.cut, piece);
    try {
      if ((await this.#writer?.writePiece(piece, buffers, sha256)) !== true) {
        this.#wants.arrived(piece, bytes);
        return false;
      }
    } catch (cause) {
      this.#swarm?.failedUpstream(piece);
      this.#giveUp(piece, toDrakkarError(cause, 'unavailable'));
      return false;
    }
    count(this.#wants.arrived(piece, bytes) ?? this.#receipt, bytes);
    if (this.#wants.size === 0) this.#restSoon();
    return true;
  }

  /** Upstream did not give these. */
  #failed(pieces: readonly number[], cause: unknown): void {
    const error = toDrakkarError(cause, 'unavailable');
    const isNew = error.code === 'not_found' && error !== this.#absence?.error;
    if (isNew) this.#absence = { error, untilMs: performance.now() + ABSENT_MS };
    this.#swarm?.failedUpstream(...pieces);
    for (const piece of pieces) this.#wants.postpone(piece, error, performance.now() + RETRY_MS);
    this.#settle();
  }

  /** Who waits for what nobody will give is told so; who waits for what a build has brought, that it is here. */
  #settle(): void {
    for (const { piece, failure } of [...this.#wants.inOrder('urgent', 'soon', 'rest')]) {
      if (this.has(piece)) this.#wants.arrived(piece, lengthOf(this.cut, piece));
      if (failure === undefined || this.#upstream.isReading(piece)) continue;
      if (this.#swarm?.isExpected(piece) !== true && this.#swarm?.isSeeking !== true)
        this.#giveUp(piece, failure);
    }
  }

  #giveUp(piece: number, error: DrakkarError): void {
    this.#wants.failed(piece, error);
    this.#swarm?.drop([piece]);
    if (this.#wants.size === 0) this.#restSoon();
  }

  /** Looks again as others come, go and tell, and as time passes, while anything is wanted. */
  async #watch(): Promise<void> {
    const swarm = this.#swarm;
    if (swarm === undefined || this.#isWatching) return;
    this.#isWatching = true;
    try {
      while (this.#wants.size > 0 && !this.isEnding) {
        await swarm.nextChange(POLL_MS, this.#ending.signal).catch(() => {});
        this.#settle();
        this.#step();
      }
    } finally {
      this.#isWatching = false;
    }
  }

  /** Reads upstream what is to be had there now. */
  #step(): void {
    if (this.isEnding || this.isComplete) return;
    const nowMs = performance.now();
    this.#read('urgent', this.#wants.inOrder('urgent'), URGENT_RANGE_BYTES, (wanted) => {
      const isLate = nowMs - wanted.sinceMs >= URGENT_PATIENCE_MS;
      return isLate || this.#swarm?.isExpected(wanted.piece) !== true;
    });
    if (this.#swarm?.mayReadUpstream === false) return;
    this.#read('ordered', this.#wants.inOrder('soon', 'rest'), ORDERED_RANGE_BYTES, ({ piece }) => {
      return this.#swarm?.isExpected(piece) !== true;
    });
  }

  #read(
    lane: Lane,
    wanted: Iterable<WantedPiece>,
    mostBytes: number,
    isUpstreams: (wanted: WantedPiece) => boolean,
  ): void {
    const nowMs = performance.now();
    if (this.#absence !== undefined && nowMs < this.#absence.untilMs) {
      const vain = [...wanted].filter((each) => each.failure === undefined && isUpstreams(each));
      if (vain.length > 0)
        this.#failed(
          vain.map(({ piece }) => piece),
          this.#absence.error,
        );
      return;
    }
    const isFree = (each: WantedPiece | undefined): boolean =>
      each !== undefined && each.restsUntilMs <= nowMs && !this.#upstream.isReading(each.piece);
    for (const each of wanted) {
      if (!this.#upstream.hasRoom(lane)) return;
      if (!isFree(each) || !isUpstreams(each)) continue;
      const range: PieceRange = rangeFrom(this.cut, each.piece, mostBytes, (next) => {
        const behind = this.#wants.get(next);
        return isFree(behind) && this.#swarm?.isExpected(next) !== true;
      });
      this.#upstream.start(range, lane);
    }
  }

  #restSoon(): void {
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      if (this.#wants.size > 0 || this.isEnding) return;
      this.#swarm?.rest();
      // What a full index does not take now it takes with the next pieces, or with the end.
      this.#writer?.flush().catch(() => {});
    }, REST_MS).unref();
  }

  /** All pieces are here. */
  async #finish(): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined || this.isComplete) return;
    const { store, swarm } = this.#modules;
    const { digest } = this.#request;
    await requireDigest(writer, this.#ending.signal);
    await writer.finish();
    this.#reader = await store.open(digest);
    await this.#swarm?.complete();
    swarm?.offer({ digest, origin: this.origin }, fixedCut(this.cut.sizeBytes));
    await writer.close();
  }

  async #close(): Promise<void> {
    clearTimeout(this.#rest);
    try {
      await this.opened.catch(() => {});
      await this.#finishing?.catch(() => {});
      await this.#upstream.settled();
      this.#swarm?.end();
      // What it could not note is fetched again.
      await this.#writer?.close().catch(() => {});
      await this.#reader?.[Symbol.asyncDispose]();
    } finally {
      this.#ended.resolve();
    }
  }
}
