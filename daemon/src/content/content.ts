import {
  type Digest,
  DrakkarError,
  fixedCut,
  isDrakkarError,
  type NamedPieceTable,
  type PieceTable,
  tableCut,
} from '@drakkar/protocol';
import type { ContentReader } from '../store/index.ts';
import type { RepositoryName } from '../upstream/index.ts';
import type {
  BlobRequest,
  BlobSource,
  Content,
  FetchOptions,
  OpenedBlob,
  OpenOptions,
  PieceBlob,
  PieceBlobRequest,
  ReadOptions,
  ReceivedOptions,
  Traffic,
} from './contract.ts';
import { Displaced, Download, type DownloadModules, WrongFromPeers } from './download.ts';
import { CONTENT_DEFAULTS, type ContentOptions } from './options.ts';
import { PieceBlobs } from './pieces/blobs.ts';
import { newReceipt, type ReceiptCounter } from './receipt.ts';
import { originOf, sourceOf } from './source.ts';
import type { PeerPiece } from './swarm-fill.ts';

const READ_BYTES = 1024 * 1024;
const NEVER = new AbortController().signal;
const MAX_SUSPECTS = 64;
const SUSPICION_MS = 60_000;

export function createContent(
  options: Partial<ContentOptions>,
  modules: Omit<DownloadModules, 'traffic'>,
): Content {
  const traffic: Traffic = { upstreamBytes: 0 };
  return new SharedContent({ ...CONTENT_DEFAULTS, ...options }, { ...modules, traffic });
}

interface Suspect {
  readonly fromPeers: ReadonlyMap<number, PeerPiece>;
  readonly untilMs: number;
}

/** Each request may displace another's download once: two that are silent would end each other for ever. */
interface Turn {
  isTaken: boolean;
}

const newTurn = (): Turn => ({ isTaken: false });

class SharedContent implements Content {
  readonly #options: ContentOptions;
  readonly #modules: DownloadModules;
  readonly #downloads = new Map<Digest, Download>();
  /** Blobs about which peers have lied, and what each has sent. */
  readonly #suspects = new Map<Digest, Suspect>();
  readonly #pieces: PieceBlobs;
  #closed = false;

  constructor(options: ContentOptions, modules: DownloadModules) {
    this.#options = options;
    this.#modules = modules;
    this.#pieces = new PieceBlobs(options.maxPieceBlobs, modules);
  }

  get traffic(): Readonly<Traffic> {
    return this.#modules.traffic;
  }

  get downloads(): number {
    return this.#downloads.size;
  }

  open(request: BlobRequest, options: ReceivedOptions = {}): Promise<OpenedBlob> {
    return this.#open(request, options.receipt ?? newReceipt(), options);
  }

  async openHere(digest: Digest, { signal }: Pick<OpenOptions, 'signal'> = {}): Promise<OpenedBlob> {
    const running = this.#downloads.get(digest);
    if (running === undefined || running.isEnding) {
      return new StoredBlob(await this.#modules.store.open(digest));
    }
    return new ArrivingBlob(await this.#enter(running, signal), signal);
  }

  isArriving(digest: Digest): boolean {
    return this.#downloads.has(digest);
  }

  async *read(
    request: BlobRequest,
    receipt: ReceiptCounter,
    options: ReadOptions = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const turn = newTurn();
    let startBytes = options.startBytes ?? 0;
    for (;;) {
      try {
        for await (const bytes of this.#read(request, receipt, { ...options, startBytes }, turn)) {
          startBytes += bytes.length;
          yield bytes;
        }
        return;
      } catch (error) {
        if (!(error instanceof Displaced)) throw error;
      }
    }
  }

  async *#read(
    request: BlobRequest,
    receipt: ReceiptCounter,
    options: ReadOptions & { readonly startBytes: number },
    turn: Turn,
  ): AsyncGenerator<Buffer, void, undefined> {
    const found = await this.#find(request, receipt, options, turn);
    const opened = openedOf(found, options.signal);
    const end = Math.min(options.endBytes ?? opened.sizeBytes, opened.sizeBytes);
    for await (const bytes of readRange(opened, options.startBytes, end)) {
      if (!(found instanceof Download)) receipt.fromStore(bytes.length);
      else if (found.isCountedBy(receipt)) receipt.arrived();
      else receipt.joined(bytes.length);
      yield bytes;
    }
  }

  async fetch(request: BlobRequest, receipt: ReceiptCounter, options: FetchOptions = {}): Promise<Digest> {
    const turn = newTurn();
    let isWrong = false;
    for (;;) {
      try {
        return await this.#fetch(request, receipt, options, turn);
      } catch (error) {
        // Nobody has read anything of it yet, so that it can be had once more, from the registry alone.
        const isFirstWrong: boolean = error instanceof WrongFromPeers && !isWrong;
        if (!isFirstWrong && !(error instanceof Displaced)) throw error;
        isWrong ||= isFirstWrong;
      }
    }
  }

  async pieceTable(
    request: PieceBlobRequest,
    receipt: ReceiptCounter,
    options: FetchOptions = {},
  ): Promise<PieceTable> {
    const { digest, sizeBytes } = request;
    const { store } = this.#modules;
    if (store.has(digest)) {
      receipt.fromStore(sizeBytes);
      options.onBytes?.(sizeBytes);
    } else {
      await this.fetch(request, receipt, options);
    }
    return await store.pieceTable(digest);
  }

  async #fetch(
    request: BlobRequest,
    receipt: ReceiptCounter,
    options: FetchOptions,
    turn: Turn,
  ): Promise<Digest> {
    const { onSize, onBytes, signal } = options;
    const found = await this.#find(request, receipt, options, turn);
    onSize?.(found.sizeBytes);
    if (!(found instanceof Download)) {
      receipt.fromStore(found.sizeBytes);
      onBytes?.(found.sizeBytes);
      await found[Symbol.asyncDispose]();
      return found.digest;
    }
    let reported = 0;
    const isCounted = found.isCountedBy(receipt);
    const report = () => {
      const bytes = found.arrivedBytes - reported;
      if (bytes > 0 && isCounted) receipt.arrived();
      else if (bytes > 0) receipt.joined(bytes);
      onBytes?.(bytes);
      reported = found.arrivedBytes;
    };
    try {
      while (found.arrivedBytes < found.sizeBytes && !found.isEnding) {
        await found.nextProgress(signal);
        report();
      }
      await untilAborted(found.finished, signal);
      return found.digest;
    } finally {
      await found.leave();
    }
  }

  async openPieces(
    request: PieceBlobRequest,
    table: NamedPieceTable,
    receipt: ReceiptCounter,
  ): Promise<PieceBlob> {
    const { digest, sizeBytes } = request;
    if (table.table.digest !== digest || table.table.sizeBytes !== sizeBytes) {
      throw new DrakkarError('invalid_argument', `the piece table ${table.digest} is that of another blob`);
    }
    const turn = newTurn();
    for (;;) {
      if (this.#closed) throw new DrakkarError('unavailable', 'the daemon stops');
      const running = this.#downloads.get(digest);
      if (running === undefined) return await this.#pieces.open(request, table, receipt);
      // Soon all of it is here.
      running.enter();
      try {
        await this.#outlast(running, turn, undefined);
      } finally {
        await running.leave();
      }
    }
  }

  async offerPieces(image: RepositoryName, digest: Digest, table: Digest): Promise<void> {
    const { store, swarm } = this.#modules;
    if (![digest, table].every((each) => store.stat(each)?.complete === true)) return;
    const cut = tableCut(await store.pieceTable(table));
    for (const each of [digest, table]) this.offer(image, each);
    store.setTable(digest, table);
    swarm?.offer({ digest, origin: image.registry, table }, cut);
  }

  offer({ registry: origin }: RepositoryName, digest: Digest): void {
    const { store, swarm } = this.#modules;
    const stored = store.stat(digest);
    if (stored?.complete !== true) return;
    store.addOrigin(digest, origin);
    swarm?.offer({ digest, origin }, fixedCut(stored.sizeBytes));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const running = [...this.#downloads.values()];
    for (const download of running) download.end('the daemon stops');
    await this.#pieces.close();
    await Promise.allSettled(running.map(({ finished }) => finished));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open(request: BlobRequest, receipt: ReceiptCounter, options: OpenOptions): Promise<OpenedBlob> {
    return openedOf(await this.#find(request, receipt, options, newTurn()), options.signal);
  }

  /** The blob in the store, or a download of it that has started and been entered. */
  async #find(
    request: BlobRequest,
    receipt: ReceiptCounter,
    { signal, authorize, pass }: OpenOptions,
    turn: Turn,
  ): Promise<ContentReader | Download> {
    for (;;) {
      throwIfCancelled(signal);
      if (await this.#isComplete(request.digest)) {
        if (authorize !== undefined) this.#requireOrigin(request);
        await authorize?.();
        return await this.#modules.store.open(request.digest);
      }
      const inPieces = this.#pieces.find(request.digest);
      if (inPieces !== undefined && !inPieces.isComplete) {
        if (authorize !== undefined && inPieces.origin !== originOf(request)) throw elsewhere(request);
        await authorize?.();
        await this.#pieces.complete(request.digest, receipt, signal ?? NEVER);
        continue;
      }
      const running = this.#downloads.get(request.digest);
      if (running?.isEnding === true) {
        await running.finished.catch(() => {});
        continue;
      }
      if (running !== undefined && isFromElsewhere(running, sourceOf(request, this.#modules.client))) {
        // Another registry may say and send what it likes: nobody else waits for that.
        if (authorize !== undefined) throw elsewhere(request);
        if (running.isForMirror) running.end('this host itself wants it from another registry');
        await this.#outlast(running, turn, signal);
        continue;
      }
      if (running !== undefined) {
        if (await this.#join(running, request, signal, authorize)) return running;
        continue;
      }
      const provesItself = this.#modules.store.stat(request.digest) === undefined;
      if (!provesItself) await authorize?.();
      if (this.#downloads.has(request.digest) || this.#pieces.find(request.digest) !== undefined) continue;
      return await this.#start(request, receipt, authorize !== undefined, { signal, pass });
    }
  }

  /** Waits until another's download has ended. One that is silent is ended, so that another source has its turn. */
  async #outlast(running: Download, turn: Turn, signal: AbortSignal | undefined): Promise<void> {
    const { silenceMs } = this.#options;
    const looking = setInterval(() => {
      if (turn.isTaken || running.idleMs < silenceMs) return;
      turn.isTaken = true;
      running.displace();
    }, silenceMs / 10);
    try {
      await untilAborted(
        running.finished.catch(() => {}),
        signal,
      );
    } finally {
      clearInterval(looking);
    }
  }

  /** A registry that has not given us the content can't tell who may have it. */
  #requireOrigin(request: BlobRequest): void {
    const origins = this.#modules.store.stat(request.digest)?.origins ?? [];
    if (!origins.includes(originOf(request))) throw elsewhere(request);
  }

  async #isComplete(digest: Digest): Promise<boolean> {
    return this.#modules.store.stat(digest)?.complete === true && !this.#downloads.has(digest)
      ? await this.#verified(digest)
      : false;
  }

  /** Opening verifies what an unclean stop has left in doubt. */
  async #verified(digest: Digest): Promise<boolean> {
    try {
      await using _reader = await this.#modules.store.open(digest);
      return true;
    } catch (error) {
      if (isDrakkarError(error, 'not_found')) return false;
      throw error;
    }
  }

  async #start(
    request: BlobRequest,
    receipt: ReceiptCounter,
    isForMirror: boolean,
    { signal, pass }: OpenOptions,
  ): Promise<Download> {
    if (this.#closed) throw new DrakkarError('unavailable', 'the daemon stops');
    if (this.#downloads.size >= this.#options.maxDownloads) {
      throw new DrakkarError('limit_exceeded', `${this.#options.maxDownloads} downloads run already`, {
        hint: 'try again when some have ended',
      });
    }
    const { digest } = request;
    const suspect = this.#suspectOf(digest);
    const download = new Download(
      { request, receipt, isForMirror, graceMs: this.#options.graceMs, pass },
      suspect === undefined ? this.#modules : { ...this.#modules, swarm: undefined },
    );
    this.#downloads.set(digest, download);
    const forget = () => this.#downloads.delete(digest);
    download.finished.then(forget, (error) => {
      if (error instanceof WrongFromPeers) this.#suspect(digest, error.fromPeers);
      forget();
    });
    if (suspect !== undefined) download.finished.then(() => this.#blame(request)).catch(() => {});
    return await this.#enter(download, signal);
  }

  /** A registry that is away cannot tell the truth: after a while others are asked once more. */
  #suspectOf(digest: Digest): Suspect | undefined {
    const suspect = this.#suspects.get(digest);
    if (suspect === undefined || suspect.untilMs > performance.now()) return suspect;
    this.#suspects.delete(digest);
    return undefined;
  }

  /** Somebody has lied about a piece of it: next time the registry alone is asked. */
  #suspect(digest: Digest, fromPeers: ReadonlyMap<number, PeerPiece>): void {
    this.#suspects.set(digest, { fromPeers, untilMs: performance.now() + SUSPICION_MS });
    const [oldest] = this.#suspects.keys();
    if (this.#suspects.size > MAX_SUSPECTS && oldest !== undefined) this.#suspects.delete(oldest);
  }

  /** The truth is here: whoever sent something else is reported. */
  async #blame(request: BlobRequest): Promise<void> {
    const { digest } = request;
    const fromPeers = this.#suspects.get(digest)?.fromPeers ?? new Map<number, PeerPiece>();
    this.#suspects.delete(digest);
    const truth = await this.#modules.store.pieceHashes(digest);
    for (const [piece, { peer, sha256 }] of fromPeers) {
      const right = truth.get(piece);
      if (right === undefined || sha256.equals(right)) continue;
      this.#modules.swarm?.report(peer, { digest, origin: originOf(request) }, piece);
    }
  }

  /** @returns false when the other's download could not begin for reasons that may not be ours */
  async #join(
    running: Download,
    request: BlobRequest,
    signal: AbortSignal | undefined,
    authorize: OpenOptions['authorize'],
  ): Promise<boolean> {
    await authorize?.();
    if (running.isEnding) return false;
    try {
      await this.#enter(running, signal);
      return true;
    } catch (error) {
      const isSame = running.source.key === sourceOf(request, this.#modules.client).key;
      if (isSame || signal?.aborted === true) throw error;
      await running.finished.catch(() => {});
      return false;
    }
  }

  async #enter(download: Download, signal: AbortSignal | undefined): Promise<Download> {
    download.enter();
    try {
      await untilAborted(download.started, signal);
      return download;
    } catch (error) {
      await download.leave();
      throw error;
    }
  }
}

/** The bytes of a range as they arrive; lets go of the blob at the end. */
export async function* readRange(
  blob: OpenedBlob,
  startBytes: number,
  endBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  await using opened = blob;
  for (let at = startBytes; at < endBytes; ) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, endBytes - at));
    const count = await opened.read(buffer, at);
    if (count === 0) throw new DrakkarError('internal', `the content ended at ${at} instead of ${endBytes}`);
    at += count;
    yield buffer.subarray(0, count);
  }
}

const openedOf = (found: ContentReader | Download, signal: AbortSignal | undefined): OpenedBlob =>
  found instanceof Download ? new ArrivingBlob(found, signal) : new StoredBlob(found);

class StoredBlob implements OpenedBlob {
  readonly source = 'store';
  readonly #reader: ContentReader;

  constructor(reader: ContentReader) {
    this.#reader = reader;
  }

  get sizeBytes(): number {
    return this.#reader.sizeBytes;
  }

  get mediaType(): string | null {
    return this.#reader.mediaType;
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return this.#reader.read(buffer, position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader[Symbol.asyncDispose]();
  }
}

class ArrivingBlob implements OpenedBlob {
  readonly source = 'arriving';
  readonly mediaType = null;
  readonly #download: Download;
  readonly #signal: AbortSignal | undefined;
  #left: Promise<void> | undefined;

  constructor(download: Download, signal: AbortSignal | undefined) {
    this.#download = download;
    this.#signal = signal;
  }

  get sizeBytes(): number {
    return this.#download.sizeBytes;
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return this.#download.read(buffer, position, this.#signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#left ??= this.#download.leave();
    return this.#left;
  }
}

/** Servers may give one thing under many URLs, some of which may not answer. */
const isFromElsewhere = ({ source: running }: Download, wanted: BlobSource): boolean =>
  running.origin !== wanted.origin || (wanted.kind === 'server' && running.key !== wanted.key);

function elsewhere(request: BlobRequest): DrakkarError {
  const { digest } = request;
  const registry = originOf(request);
  return new DrakkarError('not_found', `${digest} is here or on its way, but not from ${registry}`, {
    details: { digest, registry },
  });
}

function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new DrakkarError('cancelled', 'the read was cancelled', { cause: signal.reason });
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const cancel = () =>
      reject(new DrakkarError('cancelled', 'the read was cancelled', { cause: signal.reason }));
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    work.finally(() => signal.removeEventListener('abort', cancel)).then(resolve, reject);
  });
}
