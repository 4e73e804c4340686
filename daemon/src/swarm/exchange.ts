import {
  cellsOf,
  DrakkarError,
  distance,
  type HostPort,
  isCutByTable,
  type Labels,
  lengthOf,
  type PeerId,
  toDrakkarError,
} from '@drakkar/protocol';
import { currentSpan, type Span } from '@drakkar/service';
import { Progress } from '../progress.ts';
import type { RateLimit } from '../rate-limit.ts';
import type { Urgency } from '../urgency.ts';
import { BufferPool } from './buffers.ts';
import type { DataClient } from './data-client.ts';
import { authorizationOf, type OfferedBlob } from './data-server.ts';
import { type BlobShape, PieceFetcher } from './fetcher.ts';
import type { HaveEvents, HaveSession, KnownPiece } from './have-session.ts';
import { Introductions, type IntroductionsModules } from './introductions.ts';
import { EXCHANGE_DEFAULTS } from './options.ts';
import { PiecePicker } from './picker.ts';
import type { MemoryBudget } from './rate.ts';
import { SuperSeed } from './super-seed.ts';
import type { SupernodeAdvice } from './supernode-messages.ts';
import type { Supernodes } from './supernodes.ts';

/** The pieces of a blob that this host has. */
export interface LocalPieces {
  has(piece: number): boolean;
  sha256(piece: number): Uint8Array | undefined;
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Nothing is read any more. */
  close(): Promise<void>;
}

/** Where what is fetched goes. */
export interface PieceSink {
  /**
   * Takes a piece from a peer whose bytes match what that peer said of it. They are somebody else's when this returns.
   * @returns false where the piece was here already
   */
  deliver(piece: number, bytes: Buffer, sha256: Buffer, peer: PeerId): Promise<boolean>;
  /** Returns when so many bytes may be asked for. */
  pass?(bytes: number, signal: AbortSignal): Promise<void>;
  /** A peer was asked for pieces and has not given them in time or at all. */
  stalled(): void;
  /** Bytes came from a peer that are of no use. */
  discarded(bytes: number): void;
  /** What cannot be written ends the download. */
  failed(error: unknown): void;
}

export interface ExchangeModules extends IntroductionsModules {
  readonly self: PeerId;
  readonly link: Supernodes;
  readonly client: DataClient;
  readonly budget: MemoryBudget;
  readonly downloadRate: RateLimit;
  readonly dataAddress: string;
  readonly labels: Labels;
  /** Members that may be asked when no supernode says whom to ask. */
  acquaintances(): Iterable<readonly [PeerId, readonly HostPort[]]>;
  /** Requests of peers about whatever blob, of so many as may be. */
  readonly serving: { readonly uploads: number; readonly uploadSlots: number };
  /** Streams about all blobs, which each exchange counts. */
  readonly conversations: { open: number };
  sent(bytes: number): void;
  pieceReceived(peer: PeerId, bytes: number): void;
}

const {
  sessions: SESSIONS,
  shownAhead: SHOWN_AHEAD,
  releaseLookMs: RELEASE_LOOK_MS,
  progressPatienceMs: PROGRESS_PATIENCE_MS,
  originToldMs: ORIGIN_TOLD_MS,
} = EXCHANGE_DEFAULTS;
/** Pieces after one that a reader waits for. */
const READ_AHEAD = 4;
/** So long nobody waits for a supernode that is away. */
const SUPERNODE_PATIENCE_MS = 2_000;
/** A supernode that is being started anew is back within this time, and so is the link of a host that has just been. */
const SEEKING_PATIENCE_MS = 15_000;
/** A supernode that is there has answered by then. */
const ANSWER_PATIENCE_MS = 1_000;
/** Whoever was asked for the blob has answered by then. */
const ACQUAINTANCE_PATIENCE_MS = 1_000;
const POLL_MS = 100;
/** A child that neither gains nor takes anything for so long may open another stream. */
const SESSION_IDLE_MS = 120_000;
const HANG_UP_MS = 500;
/** Who wants single pieces asks so many acquaintances before the supernode has said whom to ask. */
const ASKED_AT_ONCE = 4;
/** A peer that has something has said so by then. */
const FIRST_WORD_MS = 100;
const KEPT_BUFFERS = 16;
const SMALLEST_BUFFER_BYTES = 64 * 1024;
/** Of all blobs whose longest pieces are about as long. */
const POOLS = new Map<number, BufferPool>();

function poolOf(longestPieceBytes: number): BufferPool {
  let bytes = SMALLEST_BUFFER_BYTES;
  while (bytes < longestPieceBytes) bytes *= 2;
  const pool = POOLS.get(bytes) ?? new BufferPool(bytes, KEPT_BUFFERS);
  POOLS.set(bytes, pool);
  return pool;
}

/** Stands for the registry among the parents. */
const UPSTREAM = '' as PeerId;

/**
 * Everything that this host has to do with other hosts about one blob: getting its pieces, and giving them.
 *
 * Of a blob that is cut by a trusted table only what is wanted is fetched, and who gains a piece tells everybody at once: a child that is
 * shown a piece may never want it, and so never pass it on.
 */
export class Exchange implements HaveEvents {
  readonly blob: BlobShape;
  readonly #modules: ExchangeModules;
  readonly #isCutByTable: boolean;
  readonly #sessions = new Map<PeerId, HaveSession>();
  readonly #introductions: Introductions;
  /** Whom this host does not take anything from any more. */
  readonly #shunned = new Set<PeerId>();
  readonly #met = new Set<PeerId>();
  readonly #seed: SuperSeed;
  readonly #picker: PiecePicker;
  readonly #changed = new Progress();
  #local: LocalPieces;
  #fetcher: PieceFetcher | undefined;
  #advice: SupernodeAdvice | undefined;
  /** For which pieces are wanted: who joins in has them for nothing. */
  #span: Span | undefined;
  #wantedSinceMs = performance.now();
  #progressAtMs = performance.now();
  /** When a peer last gave a piece: what comes from upstream is no reason to wait for peers. */
  #peerProgressAtMs = performance.now();
  #askedAcquaintancesAtMs = 0;
  #upstreamBytes = 0;
  #originToldAtMs = 0;
  #release: NodeJS.Timeout | undefined;
  /** Nothing is wanted for now. */
  #isResting = false;
  #isEnded = false;

  constructor(blob: BlobShape, local: LocalPieces, modules: ExchangeModules) {
    this.blob = blob;
    this.#local = local;
    this.#modules = modules;
    this.#introductions = new Introductions(blob, modules, {
      wants: (peer) =>
        this.isWanted && peer !== modules.self && !this.#shunned.has(peer) && !this.#sessions.has(peer),
      keeps: (peer) => !this.#isEnded && !this.#sessions.has(peer),
      open: (session) => this.#open(session),
      serve: (session) => this.#serve(session),
      shun: (peer) => void this.#shunned.add(peer),
      // Who hangs up has opened a stream itself, perhaps, which is then on its way.
      failed: (peer, hangsUp) => void setTimeout(() => this.#sayUseless(peer), hangsUp ? HANG_UP_MS : 0),
    });
    const { cut } = blob;
    this.#isCutByTable = isCutByTable(cut);
    this.#seed = new SuperSeed(cut.pieceCount, SHOWN_AHEAD, performance.now());
    const have = this.#here;
    this.#picker = new PiecePicker(cut.pieceCount, have, modules.self, this.#isCutByTable);
    // Who has all of it shows it with care, as who reads it from the registry does.
    if (this.#picker.missing === 0 && !this.#isCutByTable) this.#holdBack(have);
  }

  get isWanted(): boolean {
    return this.#fetcher !== undefined;
  }

  get isIdle(): boolean {
    return this.#sessions.size === 0 && !this.isWanted;
  }

  get neighbours(): number {
    return this.#sessions.size;
  }

  /** Who waits for a single piece hears of it soon, however many others there are. */
  get conversations(): number {
    return this.#isCutByTable ? 1 : this.#modules.conversations.open;
  }

  get missing(): number {
    return this.#picker.missing;
  }

  get offered(): OfferedBlob {
    return {
      cut: this.blob.cut,
      has: (piece) => this.#local.has(piece),
      // The place of the pieces changes when the last one has come.
      read: (buffer, position) => this.#local.read(buffer, position),
      sent: (peer, bytes) => {
        this.#sessions.get(peer)?.touch();
        this.#modules.sent(bytes);
      },
    };
  }

  /** Begins to fetch what is missing, and tells the supernode that it is wanted. */
  want(sink: PieceSink): void {
    const { client, budget, downloadRate, standing } = this.#modules;
    this.#span = currentSpan();
    this.#fetcher = new PieceFetcher(this.blob, this.#picker, {
      client,
      budget,
      span: () => this.#span,
      authorization: () => authorizationOf(this.#grant, standing.membership),
      pool: poolOf(this.blob.cut.longestPieceBytes),
      pass: async (bytes, signal) => {
        await sink.pass?.(bytes, signal);
        await downloadRate.pass(bytes, signal);
      },
      deliver: async (piece, bytes, sha256, peer) => {
        this.#modules.pieceReceived(peer, bytes.length);
        if (!(await sink.deliver(piece, bytes, sha256, peer))) return;
        this.#peerProgressAtMs = performance.now();
        this.#gained(piece, sha256, false);
      },
      stalled: () => sink.stalled(),
      discarded: (bytes) => sink.discarded(bytes),
      lost: (peer, wrongPiece) => this.#lost(peer, wrongPiece),
      failed: (error) => sink.failed(error),
    });
    this.#beginWanting();
    for (const session of this.#sessions.values()) this.#adopt(session);
    if (this.#isCutByTable) this.#askAcquaintances(ASKED_AT_ONCE);
  }

  /** Nothing is wanted for now: the supernode lets others read upstream. What is here stays on offer. */
  rest(): void {
    if (this.#isResting || !this.isWanted) return;
    this.#isResting = true;
    this.#modules.link.rest(this.blob.name);
    if (this.#advice !== undefined) this.#advice = { ...this.#advice, upstream: false };
  }

  /** Fetches these, too, in this order. Only of a blob that is cut by a table. */
  fetch(pieces: readonly number[], urgency: Urgency): void {
    this.#span = currentSpan() ?? this.#span;
    if (this.#isResting) this.#beginWanting();
    this.#picker.want(pieces, urgency);
    this.#fetcher?.schedule();
  }

  /** Nobody waits for these any more. */
  drop(pieces: readonly number[]): void {
    this.#picker.drop(pieces);
  }

  /** Missing pieces that are not wanted yet and that some peer has, the rarest first. */
  get rarest(): number[] {
    return this.#picker.rest();
  }

  /** Whether a piece may come from a peer: one was asked for it, or has it, or some have not said yet what they have. */
  isExpected(piece: number): boolean {
    if (this.#picker.isAsked(piece) || this.#fetcher?.mayGive(piece) === true) return true;
    return this.#isAsking && !this.mayReadUpstream;
  }

  /** Whether it can't be known yet who has anything: nobody has said so since this is wanted. */
  get isSeeking(): boolean {
    return !this.#modules.link.isUp && performance.now() - this.#wantedSinceMs < SEEKING_PATIENCE_MS;
  }

  /** This host itself reads it upstream now, whoever else was asked for it. */
  askUpstream(piece: number): void {
    this.#picker.ask(UPSTREAM, piece);
  }

  /** Returns when something has changed, or after so long. */
  nextChange(withinMs: number, signal: AbortSignal): Promise<void> {
    this.#meetAcquaintances();
    return this.#changed.nextWithin(withinMs, signal);
  }

  /** Pieces from the registry: claimed one by one, so that no peer is asked for the same. */
  async nextUpstream(signal: AbortSignal): Promise<number | undefined> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#picker.missing === 0) return undefined;
      this.#meetAcquaintances();
      if (this.mayReadUpstream) {
        const piece = this.#picker.claim(UPSTREAM);
        if (piece !== undefined) return piece;
      }
      await this.#changed.nextWithin(POLL_MS, signal);
    }
  }

  /** Whether the piece after the one just read may be read as well, in the same stream. */
  claimUpstream(piece: number): boolean {
    if (!this.mayReadUpstream) return false;
    const claimed = this.#picker.claim(UPSTREAM, piece);
    if (claimed === undefined || claimed === piece) return claimed === piece;
    this.#picker.failed(claimed, UPSTREAM);
    return false;
  }

  arrivedUpstream(piece: number, sha256: Uint8Array): void {
    this.#upstreamBytes += lengthOf(this.blob.cut, piece);
    const nowMs = performance.now();
    if (nowMs - this.#originToldAtMs >= ORIGIN_TOLD_MS) {
      this.#originToldAtMs = nowMs;
      this.#modules.link.originProgress(this.blob.name, this.#upstreamBytes);
    }
    this.#gained(piece, sha256, true);
  }

  /** The registry did not give these. */
  failedUpstream(...pieces: readonly number[]): void {
    for (const piece of pieces) this.#picker.failed(piece, UPSTREAM);
    if (this.#advice?.upstream === true) this.#modules.link.originRelease(this.blob.name);
    this.#fetcher?.schedule();
  }

  /** Whether pieces come, or may come, from peers. */
  get isHopeful(): boolean {
    return this.#fetcher?.isHopeful === true;
  }

  /** Since a piece came. */
  get idleMs(): number {
    return performance.now() - this.#progressAtMs;
  }

  /** A reader waits for this piece, and will soon for those after it. */
  urge(piece: number): void {
    if (!this.#picker.urge(piece)) return;
    this.#picker.prefetch(Array.from({ length: READ_AHEAD }, (_, index) => piece + 1 + index));
    this.#fetcher?.schedule();
  }

  /** The whole has been verified: from now on it is given from the store. */
  complete(local: LocalPieces): void {
    if (this.#isEnded) {
      void local.close();
      return;
    }
    void this.#local.close();
    this.#local = local;
    this.#endFetching();
    this.#modules.link.complete(this.#announced);
    for (const session of this.#sessions.values()) this.#partIfDone(session);
  }

  /** Ends sessions in which nothing has happened for long. */
  endIdleSessions(nowMs: number): void {
    if (this.isWanted && !this.#isResting) return;
    for (const session of this.#sessions.values()) {
      if (nowMs - session.activeAtMs < SESSION_IDLE_MS) continue;
      session.close();
      this.#leave(session);
    }
  }

  advise(advice: SupernodeAdvice): void {
    this.#advice = advice;
    for (const { peer, controlAddresses } of advice.candidates) this.#meet(peer, controlAddresses);
    this.#changed.step();
  }

  /** The supernode came or went. */
  linkChanged(): void {
    this.#meetAcquaintances();
    this.#changed.step();
  }

  /** Another peer asks about the blob; its opening has been checked. Returns when the session has ended. */
  async accept(session: HaveSession): Promise<void> {
    const { self } = this.#modules;
    const { peer } = session;
    const existing = this.#sessions.get(peer);
    if (existing !== undefined || this.#introductions.has(peer)) {
      // Both have opened a stream at once: that of the lesser name stays.
      if (peer > self) throw new DrakkarError('already_exists', 'there is a stream about this blob already');
      existing?.close();
      this.#leave(existing);
    }
    if (this.#sessions.size >= SESSIONS) throw new DrakkarError('busy', 'too many peers ask about this blob');
    this.#open(session);
    await this.#serve(session);
  }

  choke(isChoked: boolean): void {
    for (const session of this.#sessions.values()) session.choke(isChoked);
  }

  /** Nothing goes to or comes from this peer any more. */
  shun(peer: PeerId): void {
    this.#shunned.add(peer);
    this.#fetcher?.removeParent(peer);
    const session = this.#sessions.get(peer);
    session?.close();
    this.#leave(session);
  }

  /** Gives up what is not here yet, and ends every session. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearInterval(this.#release);
    if (this.isWanted) this.#modules.link.giveUp(this.blob.name);
    this.#endFetching();
    for (const session of this.#sessions.values()) session.close();
    this.#modules.conversations.open -= this.#sessions.size;
    this.#sessions.clear();
    void this.#local.close();
    this.#changed.step();
  }

  pieces(session: HaveSession, pieces: readonly KnownPiece[]): void {
    this.#fetcher?.parentHas(session.peer, pieces);
    const spread = this.#seed.seenAt(
      session.peer,
      pieces.map(({ piece }) => piece),
    );
    if (spread > 0) this.#seed.stir(performance.now());
    this.#partIfDone(session);
    this.#show();
    this.#changed.step();
  }

  choked(session: HaveSession, isChoking: boolean): void {
    this.#fetcher?.choked(session.peer, isChoking);
  }

  get #have(): number {
    return this.blob.cut.pieceCount - this.#picker.missing;
  }

  /** The pieces that are here. */
  get #here(): number[] {
    return Array.from({ length: this.blob.cut.pieceCount }, (_, piece) => piece).filter((piece) =>
      this.#local.has(piece),
    );
  }

  get #announced() {
    const { name, cut } = this.blob;
    return { name, sizeBytes: cut.sizeBytes, pieces: cut.pieceCount };
  }

  /** From now on the supernode says whom to ask. */
  #beginWanting(): void {
    this.#isResting = false;
    this.#wantedSinceMs = performance.now();
    this.#progressAtMs = this.#wantedSinceMs;
    this.#peerProgressAtMs = this.#wantedSinceMs;
    this.#modules.link.want(this.#announced, this.#have);
  }

  #gained(piece: number, sha256: Uint8Array, isFirstHand: boolean): void {
    if (this.#picker.has(piece)) return;
    this.#fetcher?.arrived(piece);
    this.#progressAtMs = performance.now();
    const { pieceCount } = this.blob.cut;
    const cells = () => cellsOf(pieceCount, (piece) => this.#local.has(piece));
    this.#modules.link.progress(this.blob.name, this.#have, cells);
    if (isFirstHand && !this.#isCutByTable) {
      this.#holdBack([piece]);
      this.#show();
    } else {
      for (const session of this.#sessions.values()) session.announce([{ piece, sha256 }]);
    }
    this.#changed.step();
  }

  /** Pieces that nobody else is known to have. */
  #holdBack(pieces: readonly number[]): void {
    this.#seed.gained(pieces);
    this.#release ??= setInterval(() => this.#releaseWhatIsOfNoUse(), RELEASE_LOOK_MS);
    this.#release.unref();
  }

  #releaseWhatIsOfNoUse(): void {
    const { uploads, uploadSlots } = this.#modules.serving;
    if (!this.#seed.mayRelease(performance.now(), uploads, uploadSlots)) return;
    const known = this.#known(this.#seed.release());
    for (const session of this.#sessions.values()) session.announce(known);
    clearInterval(this.#release);
    this.#release = undefined;
  }

  /** Tells whom super-seeding names. */
  #show(): void {
    for (const [peer, pieces] of this.#seed.next()) this.#sessions.get(peer)?.announce(this.#known(pieces));
  }

  #known(pieces: readonly number[]): KnownPiece[] {
    return pieces.flatMap((piece) => {
      const sha256 = this.#local.sha256(piece);
      return sha256 === undefined ? [] : [{ piece, sha256 }];
    });
  }

  /** Nobody says whom to ask: the supernode is away, or does not answer and will soon be known to be. */
  get #isAlone(): boolean {
    if (!this.#modules.link.isUp) return true;
    return this.#advice === undefined && performance.now() - this.#wantedSinceMs >= ANSWER_PATIENCE_MS;
  }

  /** One that the supernode cannot renew may have ended. */
  get #grant(): string {
    return this.#modules.link.isUp ? (this.#advice?.grant ?? '') : '';
  }

  /** Whether some have not said yet what they have, or whom to ask. */
  get #isAsking(): boolean {
    if (this.#introductions.size > 0 || (this.#advice === undefined && !this.#isAlone)) return true;
    const nowMs = performance.now();
    return this.#sessions.values().some((session) => {
      return session.isSilent && nowMs - session.activeAtMs < FIRST_WORD_MS;
    });
  }

  /** Whether this host reads upstream what nobody else gives it. */
  get mayReadUpstream(): boolean {
    const { link } = this.#modules;
    const nowMs = performance.now();
    if (this.#isAlone) {
      // Whom the supernode has let read it goes on when that is away: the others get it from here, and need not read it as well.
      if (this.#advice?.upstream === true) return true;
      if (this.isHopeful) return nowMs - this.#peerProgressAtMs > PROGRESS_PATIENCE_MS;
      // Who has everything that its peers have waits for what one of them is reading; a single piece may be none of that.
      const sinceMs = this.#isCutByTable ? this.#wantedSinceMs : this.#peerProgressAtMs;
      const patienceMs = Math.min(link.isUp ? Number.POSITIVE_INFINITY : link.downMs, nowMs - sinceMs);
      if (patienceMs >= SUPERNODE_PATIENCE_MS) return true;
      const asked = this.#askedAcquaintancesAtMs;
      // Who is being asked may have it.
      if (link.downMs < SUPERNODE_PATIENCE_MS || asked === 0 || this.#introductions.size > 0) return false;
      return nowMs - asked >= ACQUAINTANCE_PATIENCE_MS;
    }
    if (this.#advice === undefined) return false;
    if (this.#advice.upstream) return true;
    return nowMs - this.#peerProgressAtMs >= PROGRESS_PATIENCE_MS;
  }

  /** Without a supernode, whoever is known may have it. */
  #meetAcquaintances(): void {
    const nowMs = performance.now();
    if (!this.#isAlone || nowMs - this.#askedAcquaintancesAtMs < SUPERNODE_PATIENCE_MS) return;
    this.#askedAcquaintancesAtMs = nowMs;
    this.#askAcquaintances(SESSIONS);
  }

  #askAcquaintances(atMost: number): void {
    const known = [...this.#modules.acquaintances()].slice(0, atMost);
    for (const [peer, addresses] of known) this.#meet(peer, addresses, true);
  }

  /** Whoever has a stream with this host may be asked: the supernode has named it, or has named this host to it. */
  #isParent(peer: PeerId): boolean {
    return !this.#shunned.has(peer) && !this.#modules.standing.isRevoked(peer);
  }

  #adopt(session: HaveSession): void {
    if (!this.#isParent(session.peer)) return;
    this.#fetcher?.addParent(session.peer, session.dataAddress);
    this.#fetcher?.parentHas(session.peer, session.has);
  }

  /** @param isAcquaintance the supernode has not named it, or is not there */
  #meet(peer: PeerId, addresses: readonly HostPort[], isAcquaintance = false): void {
    if (this.#sessions.size + this.#introductions.size >= SESSIONS) return;
    // Whoever cannot be reached where it was may have moved: the supernode knows.
    if (isAcquaintance) this.#introductions.begin(peer, addresses, () => this.#meetNamed(peer));
    else this.#introductions.begin(peer, addresses);
  }

  #meetNamed(peer: PeerId): void {
    const named = this.#advice?.candidates.find((candidate) => candidate.peer === peer);
    if (named !== undefined) this.#meet(peer, named.controlAddresses);
  }

  #sayUseless(peer: PeerId): void {
    if (this.isWanted && !this.#sessions.has(peer)) this.#modules.link.useless(peer, this.blob.name);
  }

  #open(session: HaveSession): void {
    const { standing, dataAddress, labels } = this.#modules;
    session.open({
      blob: this.blob.name,
      sizeBytes: this.blob.cut.sizeBytes,
      membership: standing.membership,
      grant: this.#grant,
      dataAddress,
      labels,
    });
  }

  /** From here on both sides have opened. Returns when the session has ended. */
  async #serve(session: HaveSession): Promise<void> {
    const { peer } = session;
    const isOnly = this.#sessions.size === 0;
    session.begin(this.blob.cut.pieceCount, this);
    this.#sessions.set(peer, session);
    this.#modules.conversations.open += 1;
    // Who comes for the first time is given time to pass something on.
    if (!this.#met.has(peer)) this.#seed.stir(performance.now());
    this.#met.add(peer);
    const away = distance(this.#modules.labels, session.labels, this.#modules.link.localityLabels);
    this.#seed.enter(peer, away);
    this.#picker.enter(peer, away);
    this.#adopt(session);
    const here = this.#here;
    // A lone child may know all; of several each is shown something else of what nobody else has.
    session.announce(this.#known(isOnly ? here : here.filter((piece) => !this.#seed.isHeldBack(piece))));
    this.#show();
    try {
      await session.run();
    } catch (cause) {
      const error = toDrakkarError(cause, 'unavailable');
      if (error.code === 'invalid_content') this.#shunned.add(peer);
      session.abort(error);
      throw error;
    } finally {
      session.close();
      this.#leave(session);
    }
  }

  /** Two that have everything have nothing to say to each other. */
  #partIfDone(session: HaveSession): void {
    if (this.isWanted || session.has.length < this.blob.cut.pieceCount) return;
    session.close();
    this.#leave(session);
  }

  #leave(session: HaveSession | undefined): void {
    if (session === undefined || this.#sessions.get(session.peer) !== session) return;
    this.#sessions.delete(session.peer);
    this.#modules.conversations.open -= 1;
    this.#seed.leave(session.peer);
    this.#picker.leave(session.peer);
    this.#fetcher?.removeParent(session.peer);
    this.#show();
    this.#changed.step();
  }

  #lost(peer: PeerId, wrongPiece: number | undefined): void {
    if (wrongPiece !== undefined) {
      this.#modules.link.report(peer, this.blob.name, wrongPiece);
      this.#modules.log.warn(
        { peer, blob: this.blob.name.digest, piece: wrongPiece },
        'a peer sent wrong bytes',
      );
    }
    if (wrongPiece === undefined) this.#modules.link.useless(peer, this.blob.name);
    this.shun(peer);
    this.#changed.step();
  }

  #endFetching(): void {
    this.#fetcher?.end();
    this.#fetcher = undefined;
  }
}
