import {
  type BlobKey,
  type BlobName,
  blobKeyOf,
  type Cut,
  type Digest,
  DrakkarError,
  fixedCut,
  type HostPort,
  isCutByTable,
  type PeerId,
  pieceCountOfTable,
  tableCut,
  toDrakkarError,
} from '@drakkar/protocol';
import type { PeerStream } from '@drakkar/wire';
import type { Log } from '../snapshots/modules.ts';
import type { Store, StoredContent } from '../store/index.ts';
import type { OfferedBlob } from './data-server.ts';
import { Exchange, type ExchangeModules, type LocalPieces, type PieceSink } from './exchange.ts';
import type { BlobShape } from './fetcher.ts';
import { HaveSession } from './have-session.ts';
import type { AnnouncedBlob, SupernodeAdvice } from './supernode-messages.ts';

/** A blob that this host is getting from the swarm. */
export type SwarmDownload = Pick<
  Exchange,
  | 'nextUpstream'
  | 'claimUpstream'
  | 'arrivedUpstream'
  | 'failedUpstream'
  | 'isHopeful'
  | 'idleMs'
  | 'urge'
  | 'missing'
> & {
  /** The whole has been verified and is in the store. */
  complete(): Promise<void>;
  end(): void;
};

/** A blob that is cut by a table, of which this host gets the pieces that it wants. */
export type SwarmPieces = Pick<
  Exchange,
  | 'fetch'
  | 'drop'
  | 'rest'
  | 'rarest'
  | 'isExpected'
  | 'isSeeking'
  | 'mayReadUpstream'
  | 'askUpstream'
  | 'arrivedUpstream'
  | 'failedUpstream'
  | 'nextChange'
> &
  Pick<SwarmDownload, 'complete' | 'end'>;

const MAX_ACQUAINTANCES = 256;
const ASKED_ACQUAINTANCES = 16;
/** An exchange in which nobody takes part is kept for so long. */
const IDLE_MS = 10_000;
const MAX_EXCHANGES = 512;
/** Complete blobs that are announced, the most recently used first. */
const MAX_ANNOUNCED = 4096;
/** Of one blob. */
const MAX_ORIGINS = 2;
/** With all cuts of all of them a host stays below what a supernode takes. */
const MAX_NAMES = 8192;

/** All blobs about which this host speaks with others at the moment. */
export class Exchanges {
  readonly #store: Store;
  readonly #log: Log;
  readonly #exchanges = new Map<BlobKey, Exchange>();
  readonly #acquaintances = new Map<PeerId, readonly HostPort[]>();
  readonly #sweep: NodeJS.Timeout;
  #modules: ExchangeModules | undefined;

  constructor({ store, log }: { readonly store: Store; readonly log: Log }) {
    this.#store = store;
    this.#log = log;
    this.#sweep = setInterval(() => this.#endIdle(), IDLE_MS);
  }

  get size(): number {
    return this.#exchanges.size;
  }

  get knownPeers(): number {
    return this.#acquaintances.size;
  }

  begin(modules: ExchangeModules): void {
    this.#modules = modules;
  }

  end(): void {
    clearInterval(this.#sweep);
    for (const exchange of this.#exchanges.values()) exchange.end();
    this.#exchanges.clear();
  }

  download(blob: BlobShape, local: LocalPieces, sink: PieceSink): SwarmDownload {
    const exchange = this.#begin(blob, local, sink);
    return {
      nextUpstream: (signal) => exchange.nextUpstream(signal),
      claimUpstream: (piece) => exchange.claimUpstream(piece),
      arrivedUpstream: (piece, sha256) => exchange.arrivedUpstream(piece, sha256),
      failedUpstream: (piece) => exchange.failedUpstream(piece),
      urge: (piece) => exchange.urge(piece),
      get isHopeful() {
        return exchange.isHopeful;
      },
      get idleMs() {
        return exchange.idleMs;
      },
      get missing() {
        return exchange.missing;
      },
      ...this.#endings(exchange),
    };
  }

  pieces(blob: BlobShape, local: LocalPieces, sink: PieceSink): SwarmPieces {
    const exchange = this.#begin(blob, local, sink);
    return {
      fetch: (pieces, urgency) => exchange.fetch(pieces, urgency),
      drop: (pieces) => exchange.drop(pieces),
      rest: () => exchange.rest(),
      get rarest() {
        return exchange.rarest;
      },
      isExpected: (piece) => exchange.isExpected(piece),
      get isSeeking() {
        return exchange.isSeeking;
      },
      get mayReadUpstream() {
        return exchange.mayReadUpstream;
      },
      askUpstream: (piece) => exchange.askUpstream(piece),
      arrivedUpstream: (piece, sha256) => exchange.arrivedUpstream(piece, sha256),
      failedUpstream: (...pieces) => exchange.failedUpstream(...pieces),
      nextChange: (withinMs, signal) => exchange.nextChange(withinMs, signal),
      ...this.#endings(exchange),
    };
  }

  #begin(blob: BlobShape, local: LocalPieces, sink: PieceSink): Exchange {
    const key = blobKeyOf(blob.name);
    this.#exchanges.get(key)?.end();
    const exchange = new Exchange(blob, local, this.#require());
    this.#exchanges.set(key, exchange);
    exchange.want(sink);
    return exchange;
  }

  #endings(exchange: Exchange): Pick<SwarmDownload, 'complete' | 'end'> {
    const key = blobKeyOf(exchange.blob.name);
    return {
      complete: async () => exchange.complete(await this.#stored(exchange.blob)),
      end: () => {
        if (!exchange.isWanted) return;
        exchange.end();
        if (this.#exchanges.get(key) === exchange) this.#exchanges.delete(key);
      },
    };
  }

  drop(name: BlobName): void {
    this.#exchanges.get(blobKeyOf(name))?.end();
    this.#exchanges.delete(blobKeyOf(name));
  }

  async offered(name: BlobName): Promise<OfferedBlob | undefined> {
    return (await this.#find(name))?.offered;
  }

  advise(advice: SupernodeAdvice): void {
    for (const { peer, controlAddresses } of advice.candidates) this.meet(peer, controlAddresses);
    this.#exchanges.get(blobKeyOf(advice.blob))?.advise(advice);
  }

  linkChanged(): void {
    for (const exchange of this.#exchanges.values()) exchange.linkChanged();
  }

  choke(isChoked: boolean): void {
    for (const exchange of this.#exchanges.values()) exchange.choke(isChoked);
  }

  shun(peer: PeerId): void {
    this.#acquaintances.delete(peer);
    for (const exchange of this.#exchanges.values()) exchange.shun(peer);
  }

  /** Who may be asked when the supernode is away; who was met last is asked first. */
  meet(peer: PeerId, addresses: readonly HostPort[]): void {
    this.#acquaintances.delete(peer);
    this.#acquaintances.set(peer, addresses);
    const [oldest] = this.#acquaintances.keys();
    if (this.#acquaintances.size > MAX_ACQUAINTANCES && oldest !== undefined)
      this.#acquaintances.delete(oldest);
  }

  acquaintances(): (readonly [PeerId, readonly HostPort[]])[] {
    const all = [...this.#acquaintances].reverse();
    if (all.length <= ASKED_ACQUAINTANCES) return all;
    // Half of them those met last, half of them anybody.
    const others = all.slice(ASKED_ACQUAINTANCES / 2);
    const start = Math.floor(Math.random() * others.length);
    const anybody = [...others.slice(start), ...others].slice(0, ASKED_ACQUAINTANCES / 2);
    return [...all.slice(0, ASKED_ACQUAINTANCES / 2), ...anybody];
  }

  complete(): Iterable<AnnouncedBlob> {
    return this.#announced().take(MAX_NAMES);
  }

  *#announced(): Generator<AnnouncedBlob> {
    const newest = this.#store
      .list()
      .filter(({ complete, kind }) => complete && kind === 'blob')
      .sort((a, b) => b.lastUseMs - a.lastUseMs)
      .slice(0, MAX_ANNOUNCED);
    for (const { digest, sizeBytes, origins, table } of newest) {
      if (sizeBytes === 0) continue;
      const { pieceCount } = fixedCut(sizeBytes);
      const cutPieces = table === null ? undefined : this.#piecesOf(table);
      for (const origin of origins.slice(0, MAX_ORIGINS)) {
        const name = { digest, origin };
        yield { name, sizeBytes, pieces: pieceCount };
        if (table !== null && cutPieces !== undefined)
          yield { name: { ...name, table }, sizeBytes, pieces: cutPieces };
      }
    }
  }

  /** How many pieces a table lists, where it is here. */
  #piecesOf(table: Digest): number | undefined {
    const stored = this.#store.stat(table);
    return stored?.complete === true ? pieceCountOfTable(stored.sizeBytes) : undefined;
  }

  /** Another peer opens a stream about a blob. */
  async serve(stream: PeerStream): Promise<void> {
    const { standing } = this.#require();
    const session = new HaveSession(stream);
    try {
      const { blob, membership, grant, sizeBytes } = await session.opening();
      standing.requireMember(membership, stream.peer);
      // Who wants it from us shows that it may have it; a supernode that is away gives no grants.
      if (grant !== '') standing.requireGrant(grant, stream.peer, blob);
      const exchange = await this.#find(blob);
      if (exchange === undefined || exchange.blob.cut.sizeBytes !== sizeBytes) {
        session.close();
        return;
      }
      await exchange.accept(session);
    } catch (error) {
      this.#log.debug(
        { peer: stream.peer, error: toDrakkarError(error, 'unavailable') },
        'a peer’s stream about a blob has ended',
      );
      session.close();
    }
  }

  async #find(name: BlobName): Promise<Exchange | undefined> {
    const key = blobKeyOf(name);
    const known = this.#exchanges.get(key);
    if (known !== undefined) return known;
    const stored = this.#store.stat(name.digest);
    if (stored?.complete !== true || stored.kind !== 'blob' || stored.sizeBytes === 0) return undefined;
    if (!stored.origins.includes(name.origin)) return undefined;
    if (this.#exchanges.size >= MAX_EXCHANGES) this.#endIdle();
    if (this.#exchanges.size >= MAX_EXCHANGES)
      throw new DrakkarError('busy', 'too many blobs are exchanged already');
    const cut = await this.#cutOf(name, stored);
    if (cut === undefined) return undefined;
    const blob = { name, cut };
    const local = await this.#stored(blob);
    const raced = this.#exchanges.get(key);
    // It may have been evicted as well meanwhile.
    if (raced !== undefined || this.#store.stat(name.digest)?.complete !== true) {
      await local.close();
      return raced;
    }
    const exchange = new Exchange(blob, local, this.#require());
    this.#exchanges.set(key, exchange);
    return exchange;
  }

  /** How a complete blob is cut under this name; `undefined` where its table is not here, or nobody trusted has said that it is one. */
  async #cutOf({ table }: BlobName, stored: StoredContent): Promise<Cut | undefined> {
    if (table === undefined) return fixedCut(stored.sizeBytes);
    if (stored.table !== table || this.#piecesOf(table) === undefined) return undefined;
    const { digest, ...pieces } = await this.#store.pieceTable(table);
    return digest === stored.digest ? tableCut({ digest, ...pieces }) : undefined;
  }

  /** Whoever is served cannot keep this host from making room: what is evicted is dropped. */
  async #stored({ name, cut }: BlobShape): Promise<LocalPieces> {
    const hashes = isCutByTable(cut) ? undefined : await this.#store.pieceHashes(name.digest);
    const reader = await this.#store.open(name.digest, { yields: true });
    return {
      has: (piece) => piece < cut.pieceCount,
      sha256: (piece) => cut.sha256(piece) ?? hashes?.get(piece),
      read: (buffer, position) => reader.read(buffer, position),
      close: async () => await reader[Symbol.asyncDispose](),
    };
  }

  #endIdle(): void {
    for (const [key, exchange] of this.#exchanges) {
      exchange.endIdleSessions(performance.now());
      if (!exchange.isIdle) continue;
      exchange.end();
      this.#exchanges.delete(key);
    }
  }

  #require(): ExchangeModules {
    if (this.#modules === undefined) throw new DrakkarError('unavailable', 'the swarm is starting');
    return this.#modules;
  }
}
