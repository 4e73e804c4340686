import {
  type Digest,
  Digester,
  DrakkarError,
  fixedCut,
  isDrakkarError,
  toDrakkarError,
} from '@drakkar/protocol';
import { Progress } from '../progress.ts';
import type { ContentReader, ContentWriter, Store } from '../store/index.ts';
import type { SwarmPeer } from '../swarm/index.ts';
import { type BlobStream, isAway, type RegistryClient } from '../upstream/index.ts';
import type { BlobRequest, BlobSource, Pass, SourceBlobRequest, Traffic } from './contract.ts';
import { GatheringWriter } from './gather.ts';
import { newReceipt, type ReceiptCounter } from './receipt.ts';
import { sourceOf } from './source.ts';
import { spool } from './spool.ts';
import { type PeerPiece, SwarmFill } from './swarm-fill.ts';

export interface DownloadModules {
  readonly store: Store;
  readonly client: RegistryClient;
  /** What all downloads together have brought. */
  readonly traffic: Traffic;
  /** The other hosts, where there are any. */
  readonly swarm?: SwarmPeer | undefined;
}

export interface DownloadOptions {
  readonly request: BlobRequest;
  readonly receipt: ReceiptCounter;
  readonly isForMirror: boolean;
  /** How long it goes on when nobody reads it any more. */
  readonly graceMs: number;
  readonly pass?: Pass | undefined;
}

/** Of the quota that a blob may claim whose size only the registry says: the claim alone may drive out what others use. */
export const LARGEST_UNCONFIRMED_SHARE = 1 / 4;

/** A smaller blob is here before others could be asked. */
export const SMALLEST_SHARED_BYTES = 64 * 1024;

/** A reader that waits longer for the next piece has it asked for first. */
const READER_PATIENCE_MS = 5_000;

const LOCAL_READ_BYTES = 1024 * 1024;

/**
 * One blob on its way from upstream or from peers into the store, read by many meanwhile. Without a swarm, pieces that an earlier
 * download left are read from the disk, the gaps between them from upstream, all in order, so that the whole is hashed as it
 * passes. In a swarm pieces come in any order, and are hashed in theirs as soon as those before them are here.
 */
export class Download {
  readonly request: BlobRequest;
  readonly source: BlobSource;
  /** A client of the mirror has begun it: the registry that it named is not one that this host has chosen. */
  readonly isForMirror: boolean;
  /** The size is known and upstream has agreed; rejects when it has not. */
  readonly started: Promise<void>;
  /** Complete in the store; rejects with what {@link read} throws. */
  readonly finished: Promise<void>;
  readonly #modules: DownloadModules;
  readonly #graceMs: number;
  readonly #receipt: ReceiptCounter;
  readonly #pass: Pass | undefined;
  readonly #ending = new AbortController();
  readonly #progress = new Progress();
  #progressAtMs = performance.now();
  #digest: Digest;
  #sizeBytes = 0;
  /** Bytes from the start that are here; the last one is held back until the digest is known to match. */
  #arrivedBytes = 0;
  #readBuffer: Buffer | undefined;
  #matched = false;
  #swarm: SwarmPeer | undefined;
  #failure: DrakkarError | undefined;
  #writer: ContentWriter | undefined;
  #reader: ContentReader | undefined;
  #users = 0;
  /** Reads that wait for bytes. */
  #blocked = 0;
  #grace: NodeJS.Timeout | undefined;

  constructor({ request, receipt, isForMirror, graceMs, pass }: DownloadOptions, modules: DownloadModules) {
    this.request = request;
    this.#digest = request.digest;
    this.source = sourceOf(request, modules.client);
    this.isForMirror = isForMirror;
    this.#receipt = receipt;
    this.#graceMs = graceMs;
    this.#pass = pass;
    this.#modules = modules;
    const begun = this.#begin();
    this.started = begun.then(
      () => {},
      (error) => {
        throw this.#reasonOf(error);
      },
    );
    this.finished = begun.then((first) => this.#run(first)).catch((error) => this.#fail(error));
    this.started.catch(() => {});
    this.finished.catch(() => {});
  }

  /** Under which it is in the store when it has finished. */
  get digest(): Digest {
    return this.#digest;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get arrivedBytes(): number {
    return this.#arrivedBytes;
  }

  /** Nobody can join any more. */
  get isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Since bytes, or a whole piece, came. */
  get idleMs(): number {
    return performance.now() - this.#progressAtMs;
  }

  /** Whether a request's receipt is told where the bytes come from. */
  isCountedBy(receipt: ReceiptCounter): boolean {
    return this.#receipt === receipt;
  }

  enter(): void {
    this.#users += 1;
    clearTimeout(this.#grace);
  }

  /** The last reader's leaving ends the download after a grace. */
  async leave(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0 || this.#failure !== undefined) return;
    if (this.#reader !== undefined) await this.#letGo(this.#reader);
    else this.#grace = setTimeout(() => this.end('nobody reads it any more'), this.#graceMs);
  }

  end(why: string): void {
    this.#ending.abort(
      new DrakkarError('cancelled', `the download of ${this.request.digest} was ended: ${why}`),
    );
  }

  /** Another source gets its turn: who waits for this download is to wait for that one. */
  displace(): void {
    this.#ending.abort(new Displaced(this.source.what));
  }

  async read(buffer: Uint8Array, position: number, signal: AbortSignal | undefined): Promise<number> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const readable = this.#matched ? this.#sizeBytes : Math.min(this.#arrivedBytes, this.#sizeBytes - 1);
      const source = this.#reader ?? this.#writer;
      if (position < readable && source !== undefined) {
        return source.read(buffer.subarray(0, Math.min(buffer.length, readable - position)), position);
      }
      if (this.#matched && position >= this.#sizeBytes) return 0;
      this.#blocked += 1;
      try {
        await this.#progress.next(signal);
      } finally {
        this.#blocked -= 1;
      }
    }
  }

  /** Returns at the next arrival of bytes, or at the end. */
  nextProgress(signal: AbortSignal | undefined): Promise<void> {
    return this.#progress.next(signal);
  }

  #step(): void {
    this.#progressAtMs = performance.now();
    this.#progress.step();
  }

  /** Asks upstream before anything is said to be here; the stream that it answers with is the first gap's. */
  async #begin(): Promise<BlobStream | undefined> {
    const { store } = this.#modules;
    const { digest } = this.request;
    const { origin } = this.source;
    const left = store.stat(digest);
    if (left !== undefined && (this.request.sizeBytes ?? left.sizeBytes) === left.sizeBytes) {
      this.#sizeBytes = left.sizeBytes;
      this.#writer = await store.writer({ digest, sizeBytes: left.sizeBytes, origin });
      try {
        const gap = this.#nextGap(0);
        if (gap === undefined) return undefined;
        if (await this.#isShared()) return undefined;
        return await this.#openGap(gap);
      } catch (error) {
        if (isDrakkarError(error, 'invalid_content')) await this.#writer.discard();
        else await this.#writer.close();
        throw error;
      }
    }
    const stream = (await this.#isShared()) ? undefined : await this.#openWhole();
    try {
      const sizeBytes = stream === undefined ? this.#sizeBytes : this.#agreedSize(stream.sizeBytes);
      if (sizeBytes === undefined) {
        if (stream === undefined) throw new DrakkarError('internal', 'a shared blob has no size');
        const limit = store.usage().quotaBytes * LARGEST_UNCONFIRMED_SHARE;
        this.#digest = await spool(
          stream,
          this.#isUnnamed ? undefined : digest,
          store,
          this.#receipt,
          limit,
          () => this.#step(),
        );
        store.addOrigin(this.#digest, origin);
        this.#reader = await store.open(this.#digest);
        this.#sizeBytes = this.#reader.sizeBytes;
        this.#modules.traffic.upstreamBytes += this.#sizeBytes;
        this.#name();
        return undefined;
      }
      this.#requireModestClaim(sizeBytes);
      this.#sizeBytes = sizeBytes;
      this.#writer = await store.writer({ digest, sizeBytes, origin });
    } catch (error) {
      await stream?.chunks.return();
      // A build has brought it meanwhile. Upstream has agreed, so it may be read.
      if (!isDrakkarError(error, 'already_exists')) throw error;
      const isOurs = store.stat(digest)?.origins.includes(origin) === true;
      if (this.isForMirror && !isOurs) throw new DrakkarError('not_found', `${digest} is not from ${origin}`);
      this.#reader = await store.open(digest);
      this.#sizeBytes = this.#reader.sizeBytes;
      return undefined;
    }
    return stream;
  }

  /**
   * Whether the blob may be had from other hosts. Upstream is asked all the same: it says whether it would give the blob, and how
   * large that is.
   */
  async #isShared(): Promise<boolean> {
    const { swarm } = this.#modules;
    if (swarm === undefined || this.#isUnnamed) return false;
    const { sizeBytes } = this.request;
    if (sizeBytes !== undefined && sizeBytes < SMALLEST_SHARED_BYTES) return false;
    const found = await this.source.size(this.#ending.signal).catch((error) => {
      if (sizeBytes === undefined || !this.#mayBeElsewhere(error)) throw error;
      return sizeBytes;
    });
    const agreed = this.#agreedSize(found);
    if (agreed === undefined || agreed < SMALLEST_SHARED_BYTES) return false;
    if (this.#writer !== undefined && agreed !== this.#sizeBytes) throw this.#wrongLength(String(agreed));
    this.#sizeBytes = agreed;
    this.#swarm = swarm;
    return true;
  }

  /** All of it from upstream; `undefined` where only others may have it. */
  async #openWhole(): Promise<BlobStream | undefined> {
    const { swarm } = this.#modules;
    const { sizeBytes } = this.request;
    try {
      return await this.source.open({}, this.#ending.signal);
    } catch (error) {
      const isShared = this.#mayBeElsewhere(error) && !isAway(error);
      if (swarm === undefined || sizeBytes === undefined || !isShared) throw error;
      this.#sizeBytes = sizeBytes;
      this.#swarm = swarm;
      return undefined;
    }
  }

  /**
   * The host itself asks for what a manifest or a snapshot has named: others may have it though the registry is away, or was never given
   * what a host has built.
   */
  #mayBeElsewhere(error: unknown): boolean {
    if (this.isForMirror) return false;
    return isAway(error) || (this.source.kind === 'registry' && isDrakkarError(error, 'not_found'));
  }

  #agreedSize(found: number | undefined): number | undefined {
    const { digest, sizeBytes } = this.request;
    if (found !== undefined && sizeBytes !== undefined && found !== sizeBytes) {
      throw new DrakkarError(
        'invalid_content',
        `${this.source.what} has ${found} bytes; its manifest says ${sizeBytes}`,
        { hint: 'the image is broken: push it again', details: { digest } },
      );
    }
    return found ?? sizeBytes;
  }

  /** @throws `limit_exceeded` */
  #requireModestClaim(sizeBytes: number): void {
    const { quotaBytes } = this.#modules.store.usage();
    const isModest = !this.isForMirror || sizeBytes <= quotaBytes * LARGEST_UNCONFIRMED_SHARE;
    if (this.request.sizeBytes !== undefined || (isModest && sizeBytes <= quotaBytes)) return;
    throw new DrakkarError(
      'limit_exceeded',
      `${this.source.what} is said to have ${sizeBytes} bytes, which is more than ${isModest ? '' : 'a quarter of '}the store may hold`,
      { hint: 'raise store.quotaBytes if content of this size shall be kept' },
    );
  }

  async #run(first: BlobStream | undefined): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) {
      this.#matches();
      if (this.#users === 0 && this.#reader !== undefined) await this.#letGo(this.#reader);
      return;
    }
    const digester = new Digester();
    if (this.#swarm !== undefined && first === undefined) {
      await this.#runInSwarm(writer, digester, this.#swarm);
      return;
    }
    let stream = first;
    const { cut } = writer;
    for (let piece = 0; piece < cut.pieceCount; ) {
      const gap = this.#nextGap(piece);
      const gapStart = gap?.start ?? this.#sizeBytes;
      await this.#rehash(writer, digester, gapStart);
      if (gap === undefined) break;
      stream ??= await this.#openGap(gap);
      await this.#fill(writer, digester, stream, gap);
      stream = undefined;
      piece = gap.lastPiece + 1;
    }
    await stream?.chunks.return();
    const found = digester.digest();
    if (this.#isUnnamed) {
      await this.#finishAs(found, writer);
    } else {
      if (found !== this.request.digest) throw this.#mismatch(found);
      this.#reader = await this.#finish(writer);
      await writer.close();
    }
    if (this.#users === 0 && this.#reader !== undefined) await this.#letGo(this.#reader);
  }

  async #runInSwarm(writer: ContentWriter, digester: Digester, swarm: SwarmPeer): Promise<void> {
    const { request } = this;
    const receipt = this.#receipt.part();
    const present = writer.presentHashes;
    const fill = new SwarmFill(
      {
        request,
        writer,
        swarm,
        receipt,
        pass: this.#pass,
        signal: this.#ending.signal,
        traffic: this.#modules.traffic,
        openUpstream: (range, signal) => this.#openUpstreamOfSize(range, signal),
        onPiece: () => this.#step(),
      },
      present,
    );
    try {
      const filling = fill.run();
      let failure: { readonly cause: unknown } | undefined;
      filling.catch((cause: unknown) => {
        failure = { cause };
        this.#step();
      });
      for (let piece = 0; piece < writer.cut.pieceCount; piece += 1) {
        await this.#untilHere(piece, writer, fill, () => {
          if (failure !== undefined) throw failure.cause;
        });
        const counted = present.has(piece) ? receipt : newReceipt();
        await this.#rehash(writer, digester, writer.cut.end(piece), counted);
      }
      await filling;
      const found = digester.digest();
      if (found !== request.digest) {
        // What an earlier download has left may have come from peers, too.
        const isUpstreams = fill.fromPeers.size === 0 && present.size === 0;
        this.#receipt.addDiscarded(receipt);
        throw isUpstreams ? this.#mismatch(found) : new WrongFromPeers(request.digest, fill.fromPeers);
      }
      this.#receipt.add(receipt);
      this.#reader = await this.#finish(writer);
      await fill.complete();
    } finally {
      fill.end();
    }
    await writer.close();
    if (this.#users === 0) await this.#letGo(this.#reader);
  }

  async #untilHere(
    piece: number,
    writer: ContentWriter,
    fill: SwarmFill,
    throwIfFailed: () => void,
  ): Promise<void> {
    const sinceMs = performance.now();
    while (!writer.has(piece)) {
      throwIfFailed();
      await this.#progress.next(this.#ending.signal);
      // Order costs the swarm: only who has waited for long is served out of turn.
      if (this.#blocked > 0 && performance.now() - sinceMs > READER_PATIENCE_MS) fill.urge(piece);
    }
  }

  get #whenNamed(): SourceBlobRequest['whenNamed'] {
    return 'source' in this.request ? this.request.whenNamed : undefined;
  }

  get #isUnnamed(): boolean {
    return this.#whenNamed !== undefined;
  }

  /** It is whole, and now it is known what it is. */
  async #finishAs(digest: Digest, writer: ContentWriter): Promise<void> {
    const { store } = this.#modules;
    this.#digest = digest;
    const isOurs = await writer.finishAs(digest);
    store.addOrigin(digest, this.source.origin);
    this.#reader = await store.open(digest);
    this.#name();
    this.#matches();
    await (isOurs ? writer.close() : writer.discard());
  }

  /** Other hosts could not have asked for it before. */
  #name(): void {
    if (this.#whenNamed === undefined) return;
    const name = { digest: this.#digest, origin: this.source.origin };
    this.#modules.swarm?.offer(name, fixedCut(this.#sizeBytes));
    this.#whenNamed(this.#digest, this.#sizeBytes);
  }

  async #finish(writer: ContentWriter): Promise<ContentReader> {
    this.#matches();
    await writer.finish();
    return await this.#modules.store.open(this.request.digest);
  }

  async #openUpstreamOfSize(
    range: { startBytes: number; endBytes?: number },
    signal = this.#ending.signal,
  ): Promise<BlobStream> {
    const stream = await this.source.open(range, signal);
    if (stream.sizeBytes === undefined || stream.sizeBytes === this.#sizeBytes) return stream;
    await stream.chunks.return();
    throw this.#wrongLength(String(stream.sizeBytes));
  }

  /** From now on readers go to the store. */
  async #letGo(reader: ContentReader): Promise<void> {
    clearTimeout(this.#grace);
    this.end('it is complete');
    await reader[Symbol.asyncDispose]();
  }

  #matches(): void {
    this.#matched = true;
    this.#arrivedBytes = this.#sizeBytes;
    this.#step();
  }

  /** What is here already passes through the hash, too. */
  async #rehash(
    writer: ContentWriter,
    digester: Digester,
    until: number,
    receipt: ReceiptCounter = this.#receipt,
  ): Promise<void> {
    this.#readBuffer ??= Buffer.allocUnsafe(Math.min(LOCAL_READ_BYTES, this.#sizeBytes));
    const buffer = this.#readBuffer;
    while (this.#arrivedBytes < until) {
      this.#ending.signal.throwIfAborted();
      const wanted = buffer.subarray(0, Math.min(buffer.length, until - this.#arrivedBytes));
      const count = await writer.read(wanted, this.#arrivedBytes);
      if (count === 0)
        throw new DrakkarError('internal', `${this.request.digest} is shorter on disk than it was`);
      digester.update(wanted.subarray(0, count));
      receipt.fromStore(count);
      this.#arrivedBytes += count;
      this.#step();
    }
  }

  async #fill(writer: ContentWriter, digester: Digester, stream: BlobStream, gap: Gap): Promise<void> {
    let receivedBytes = gap.start;
    const gathering = new GatheringWriter(async (buffers) => {
      await writer.write(this.#arrivedBytes, buffers);
      this.#arrivedBytes += buffers.reduce((sum, { length }) => sum + length, 0);
      this.#step();
    });
    try {
      for await (const chunk of stream.chunks) {
        receivedBytes += chunk.length;
        if (receivedBytes > gap.end) throw this.#wrongLength(`more than ${this.#sizeBytes}`);
        digester.update(chunk);
        this.#receipt.fromUpstream(chunk.length);
        this.#modules.traffic.upstreamBytes += chunk.length;
        await gathering.push(chunk);
        await this.#pass?.(chunk.length, this.#ending.signal);
      }
    } finally {
      await gathering.end();
    }
    if (receivedBytes < gap.end) throw this.#wrongLength(`only ${receivedBytes} of ${this.#sizeBytes}`);
  }

  #nextGap(fromPiece: number): Gap | undefined {
    const writer = this.#writer;
    if (writer === undefined) return undefined;
    const { cut } = writer;
    let first = fromPiece;
    while (first < cut.pieceCount && writer.has(first)) first += 1;
    if (first === cut.pieceCount) return undefined;
    let lastPiece = first;
    while (lastPiece + 1 < cut.pieceCount && !writer.has(lastPiece + 1)) lastPiece += 1;
    return { start: cut.start(first), end: cut.end(lastPiece), lastPiece };
  }

  #openGap(gap: Gap): Promise<BlobStream> {
    const toTheEnd = gap.end === this.#sizeBytes;
    return this.#openUpstreamOfSize(
      toTheEnd ? { startBytes: gap.start } : { startBytes: gap.start, endBytes: gap.end },
    );
  }

  #wrongLength(found: string): DrakkarError {
    const { what, kind } = this.source;
    return new DrakkarError('invalid_content', `${what} came with another size than before: ${found} bytes`, {
      hint: `the ${kind} or something before it is broken`,
      details: { digest: this.request.digest },
    });
  }

  #mismatch(found: Digest): DrakkarError {
    const { digest } = this.request;
    const { what, kind } = this.source;
    return new DrakkarError('invalid_content', `${what} has another digest: ${found} came for ${digest}`, {
      hint: `${kind === 'server' ? 'the --sha256 may be wrong, where one was given; else ' : ''}the ${kind} or something before it is broken`,
      details: { digest, found },
    });
  }

  /** What is broken off fails in its own way. */
  #reasonOf(error: unknown): unknown {
    return this.#ending.signal.aborted ? this.#ending.signal.reason : error;
  }

  /** Tells the readers, and keeps what is good: nothing of a blob whose digest did not match. */
  async #fail(error: unknown): Promise<never> {
    const failure = toDrakkarError(this.#reasonOf(error), 'unavailable');
    clearTimeout(this.#grace);
    this.#failure = failure;
    this.#ending.abort(failure);
    try {
      if (failure.code === 'invalid_content') await this.#writer?.discard();
      else await this.#writer?.close();
      await this.#reader?.[Symbol.asyncDispose]();
    } catch {
      // A writer that cannot end well has failed already, with the error that brought us here.
    }
    this.#step();
    throw failure;
  }
}

interface Gap {
  readonly start: number;
  readonly end: number;
  readonly lastPiece: number;
}

/** Each piece was what the peer that sent it had said, and the whole is not what it should be: somebody has lied about a piece. */
export class WrongFromPeers extends DrakkarError {
  readonly fromPeers: ReadonlyMap<number, PeerPiece>;

  constructor(digest: Digest, fromPeers: ReadonlyMap<number, PeerPiece>) {
    super('invalid_content', `the bytes of blob ${digest} that peers have sent have another digest`, {
      hint: 'try again: the registry alone will be asked, and the peer that lied is found out',
    });
    this.fromPeers = fromPeers;
  }
}

/** Bytes hardly came while somebody waited who has another source for the same content. */
export class Displaced extends DrakkarError {
  constructor(what: string) {
    super('cancelled', `${what} brought next to nothing while the same content was to be had elsewhere`, {
      hint: 'try again',
    });
  }
}
