import { setTimeout as sleep } from 'node:timers/promises';
import { DrakkarError, lengthOf, type PeerId } from '@drakkar/protocol';
import type { ContentWriter } from '../store/index.ts';
import type { SwarmDownload, SwarmPeer } from '../swarm/index.ts';
import { type BlobStream, isAway } from '../upstream/index.ts';
import type { BlobRequest, Pass, Traffic } from './contract.ts';
import { PieceCutter } from './cutter.ts';
import type { ReceiptCounter } from './receipt.ts';
import { originOf } from './source.ts';

export interface SwarmFillOptions {
  readonly request: BlobRequest;
  readonly writer: ContentWriter;
  readonly swarm: SwarmPeer;
  readonly receipt: ReceiptCounter;
  readonly pass?: Pass | undefined;
  /** Of all downloads. */
  readonly traffic: Traffic;
  readonly signal: AbortSignal;
  /** Bytes from upstream, from `startBytes` to the end. */
  openUpstream(range: { readonly startBytes: number }, signal: AbortSignal): Promise<BlobStream>;
  /** A piece is here. */
  onPiece(): void;
}

/** A piece as a peer has sent it. */
export interface PeerPiece {
  readonly peer: PeerId;
  readonly sha256: Buffer;
}

/** While the registry is away and no peer has anything, others may still come. */
const PATIENCE_MS = 15_000;
const RETRY_MS = 1_000;

/** Fills a blob from the swarm and, as far as this host may read it there, from upstream: whole pieces, in whatever order. */
export class SwarmFill {
  /** What came from peers, by piece. */
  readonly fromPeers = new Map<number, PeerPiece>();
  readonly #options: SwarmFillOptions;
  readonly #download: SwarmDownload;
  readonly #hashes = new Map<number, Buffer>();
  readonly #ending = new AbortController();
  readonly #signal: AbortSignal;
  #failedSinceMs: number | undefined;
  /** The stream from upstream, and the piece that it is bringing. */
  #reading: { piece: number; readonly stop: AbortController } | undefined;

  /** @param present sha256 of the pieces that are here already */
  constructor(options: SwarmFillOptions, present: ReadonlyMap<number, Uint8Array>) {
    this.#options = options;
    const { writer, swarm, request, receipt, pass } = options;
    for (const [piece, sha256] of present) this.#hashes.set(piece, Buffer.from(sha256));
    this.#signal = AbortSignal.any([options.signal, this.#ending.signal]);
    const { cut } = writer;
    this.#download = swarm.download(
      { name: { digest: request.digest, origin: originOf(request) }, cut },
      {
        has: (piece) => this.#hashes.has(piece),
        sha256: (piece) => this.#hashes.get(piece),
        read: (buffer, position) => writer.read(buffer, position),
        close: async () => {},
      },
      {
        deliver: async (piece, bytes, sha256, peer) => {
          if (!(await this.#write(piece, [bytes], sha256))) {
            receipt.discarded(bytes.length);
            return false;
          }
          receipt.fromPeer(peer, swarm.nameOf(peer), bytes.length);
          this.fromPeers.set(piece, { peer, sha256 });
          // Upstream may be silent for long before it is given up.
          if (this.#reading?.piece === piece) this.#reading.stop.abort();
          return true;
        },
        pass: async (bytes, signal) => await pass?.(bytes, signal),
        stalled: () => receipt.stalled(),
        discarded: (bytes) => receipt.discarded(bytes),
        failed: (error) => this.#ending.abort(error),
      },
    );
  }

  /** Returns when every piece is here. @throws what upstream threw last, where nobody else has what is missing */
  async run(): Promise<void> {
    let retryAtMs = 0;
    for (;;) {
      const waitMs = retryAtMs - performance.now();
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#signal }).catch(() => {});
      const piece = await this.#download.nextUpstream(this.#signal);
      if (piece === undefined) return;
      try {
        await this.#readFrom(piece);
        this.#failedSinceMs = undefined;
      } catch (error) {
        this.#signal.throwIfAborted();
        this.#requireHope(error);
        this.#options.receipt.stalled();
        retryAtMs = performance.now() + RETRY_MS;
      }
    }
  }

  /** A reader has waited for this piece for long. */
  urge(piece: number): void {
    this.#download.urge(piece);
  }

  /** The whole has been verified and is in the store. */
  complete(): Promise<void> {
    return this.#download.complete();
  }

  end(): void {
    this.#ending.abort(new DrakkarError('cancelled', 'the download has ended'));
    this.#download.end();
  }

  /** One stream from upstream, as long as what comes next is wanted from there. */
  async #readFrom(first: number): Promise<void> {
    const { receipt, traffic, writer, pass } = this.#options;
    const { cut } = writer;
    const reading = { piece: first, stop: new AbortController() };
    this.#reading = reading;
    /** Of bytes that have come for no whole piece yet. */
    let unused = 0;
    let isGivenUp = true;
    try {
      const signal = AbortSignal.any([this.#signal, reading.stop.signal]);
      const { chunks } = await this.#options.openUpstream({ startBytes: cut.start(first) }, signal);
      const cutter = new PieceCutter(cut, first);
      for await (const chunk of chunks) {
        unused += chunk.length;
        traffic.upstreamBytes += chunk.length;
        await pass?.(chunk.length, signal);
        for (const { piece, buffers, sha256 } of cutter.take(chunk)) {
          if (await this.#write(piece, buffers, sha256)) {
            const length = lengthOf(cut, piece);
            unused -= length;
            receipt.fromUpstream(length);
            this.#download.arrivedUpstream(piece, sha256);
          }
          reading.piece += 1;
          if (reading.piece >= cut.pieceCount || !this.#download.claimUpstream(reading.piece)) {
            isGivenUp = false;
            return;
          }
        }
      }
      throw new DrakkarError(
        'invalid_content',
        `blob ${this.#options.request.digest} came shorter than before`,
        {
          hint: 'upstream, or something before it, is broken',
        },
      );
    } catch (error) {
      if (!reading.stop.signal.aborted) throw error;
      // The next one may have been claimed before the stream was stopped.
      isGivenUp = !this.#hashes.has(reading.piece);
    } finally {
      this.#reading = undefined;
      receipt.discarded(unused);
      if (isGivenUp) this.#download.failedUpstream(reading.piece);
    }
  }

  /** @returns false where somebody else has brought the piece */
  async #write(piece: number, buffers: readonly Buffer[], sha256: Buffer): Promise<boolean> {
    if (!(await this.#options.writer.writePiece(piece, buffers, sha256))) return false;
    this.#hashes.set(piece, sha256);
    this.#options.onPiece();
    return true;
  }

  /** A registry that has failed is no reason to give up while pieces come from elsewhere. */
  #requireHope(error: unknown): void {
    this.#failedSinceMs ??= performance.now();
    if (this.#download.isHopeful) return;
    const waitedMs = Math.min(performance.now() - this.#failedSinceMs, this.#download.idleMs);
    if (!isAway(error) || waitedMs > PATIENCE_MS) throw error;
  }
}
