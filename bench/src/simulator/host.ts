import {
  Announcements,
  AskedParent,
  Asking,
  EXCHANGE_DEFAULTS,
  PiecePicker,
  type SlotRequest,
  Slots,
  SuperSeed,
} from '@drakkar/daemon';
import { type Cut, type Labels, lengthOf, type PeerId } from '@drakkar/protocol';
import type { Events } from './events.ts';
import { Flow, Link } from './links.ts';

/** What is around a host. */
export interface World {
  readonly events: Events;
  readonly cut: Cut;
  /** How many places they do not share. */
  distance(one: SimulatedHost, other: SimulatedHost): number;
  /** One way. */
  latencyMs(one: SimulatedHost, other: SimulatedHost): number;
  /** All that bytes pass on their way, the links of both hosts as well. */
  path(from: SimulatedHost, to: SimulatedHost): readonly Link[];
  readonly registry: Link;
  readonly uploadSlots: number;
  /** From 0 to 1. */
  chance(): number;
  /** To the supernode. */
  tell(host: SimulatedHost, said: Said): void;
  /** Bytes have come from one host to another. */
  moved(from: SimulatedHost, to: SimulatedHost, bytes: number): void;
  finished(): void;
}

export type Said =
  | { readonly kind: 'have'; readonly pieces: number }
  | { readonly kind: 'originProgress'; readonly bytes: number }
  | { readonly kind: 'useless'; readonly peer: PeerId }
  | { readonly kind: 'report'; readonly peer: PeerId };

/** How a host differs from the others. */
export interface Nature {
  readonly labels: Labels;
  readonly bytesPerSecond: number;
  /** Sends other bytes than it says. */
  readonly isEvil: boolean;
}

const {
  sessions: SESSIONS,
  shownAhead,
  releaseLookMs,
  haveIntervalMs,
  originToldMs,
  retryMs,
  progressPatienceMs,
} = EXCHANGE_DEFAULTS;
const LOOK_MS = 1_000;
/** Ways there and back until both sides of a new stream have said who they are: TCP, the handshake of keys, the streams, the words. */
const ROUND_TRIPS_TO_MEET = 4;
const UPSTREAM = '' as PeerId;

class Parent extends AskedParent {
  readonly host: SimulatedHost;

  constructor(host: SimulatedHost) {
    super(host.peer);
    this.host = host;
  }
}

/** What a host knows of another with which it has a stream. */
interface Session {
  readonly other: SimulatedHost;
  readonly announcements: Announcements;
  /** When what waits is to be said. */
  dueAtMs: number;
}

interface Request {
  readonly parent: Parent;
  readonly pieces: readonly number[];
  readonly slot: SlotRequest;
  readonly atMs: number;
  /** Of the pieces. */
  next: number;
  /** It has a slot, or waits for one. */
  isQueued: boolean;
  flow: Flow | undefined;
  isOver: boolean;
}

/**
 * A host that gets one blob from others and gives it to them. What it decides the daemon's own cores decide; what is here is what the
 * daemon does with sockets and timers.
 */
export class SimulatedHost {
  readonly peer: PeerId;
  readonly index: number;
  readonly nature: Nature;
  readonly up: Link;
  readonly down: Link;
  readonly slots: Slots;
  readonly arrivedMs: number;
  finishedMs: number | undefined;
  isDead = false;
  readonly #world: World;
  readonly #picker: PiecePicker;
  readonly #asking: Asking<Parent>;
  readonly #sessions = new Map<PeerId, Session>();
  readonly #requests = new Set<Request>();
  readonly #shunned = new Set<PeerId>();
  /** Made when it has something that nobody else is known to have. */
  #seed: SuperSeed | undefined;
  #mayReadUpstream = false;
  #reading: Flow | undefined;
  #upstreamBytes = 0;
  #progressAtMs: number;
  #haveToldAtMs = Number.NEGATIVE_INFINITY;
  #originToldAtMs = Number.NEGATIVE_INFINITY;
  #isRetrying = false;
  #isReleasing = false;

  constructor(peer: PeerId, index: number, nature: Nature, world: World) {
    const { cut, events } = world;
    this.peer = peer;
    this.index = index;
    this.nature = nature;
    this.#world = world;
    this.up = new Link(nature.bytesPerSecond);
    this.down = new Link(nature.bytesPerSecond);
    this.#picker = new PiecePicker(cut.pieceCount, [], peer);
    this.#asking = new Asking(cut, this.#picker);
    this.slots = new Slots(world.uploadSlots, (isPressed) => this.#choke(isPressed));
    this.arrivedMs = events.nowMs;
    this.#progressAtMs = events.nowMs;
    this.#watchProgress();
  }

  get have(): number {
    return this.#world.cut.pieceCount - this.#picker.missing;
  }

  get isWanting(): boolean {
    return !this.isDead && this.finishedMs === undefined;
  }

  /** The supernode has said whom to ask, and whether it may read upstream. */
  advise(parents: readonly SimulatedHost[], isOrigin: boolean): void {
    if (!this.isWanting) return;
    for (const parent of parents) this.#meet(parent);
    this.#mayReadUpstream = isOrigin;
    this.#readUpstream();
    this.#schedule();
  }

  /** Its process ends: its streams and connections with it. */
  die(): void {
    this.isDead = true;
    this.#reading?.stop();
    for (const request of this.#requests) this.#cancel(request);
    for (const { other } of this.#sessions.values()) {
      this.#world.events.after(this.#latencyTo(other), () => other.#leave(this));
    }
    this.#sessions.clear();
  }

  #latencyTo(other: SimulatedHost): number {
    return this.#world.latencyMs(this, other);
  }

  #meet(other: SimulatedHost): void {
    if (this.#sessions.has(other.peer) || this.#shunned.has(other.peer)) return;
    this.#world.events.after(2 * ROUND_TRIPS_TO_MEET * this.#latencyTo(other), () => {
      if (!this.isWanting || this.#sessions.has(other.peer)) return;
      if (other.isDead || other.#sessions.size >= SESSIONS || this.#sessions.size >= SESSIONS) {
        this.#world.tell(this, { kind: 'useless', peer: other.peer });
        return;
      }
      other.#enter(this);
      this.#enter(other);
    });
  }

  /** Both sides have opened. */
  #enter(other: SimulatedHost): void {
    const { cut, events } = this.#world;
    const isOnly = this.#sessions.size === 0;
    const announcements = new Announcements(cut.pieceCount);
    const session = { other, announcements, dueAtMs: Number.POSITIVE_INFINITY };
    this.#sessions.set(other.peer, session);
    const away = this.#world.distance(this, other);
    this.#seed?.stir(events.nowMs);
    this.#seed?.enter(other.peer, away);
    this.#picker.enter(other.peer, away);
    if (this.isWanting) this.#adopt(other);
    const here = this.#here();
    this.#announce(
      session,
      isOnly || this.#seed === undefined ? here : here.filter((piece) => !this.#seed?.isHeldBack(piece)),
    );
    this.#show();
  }

  #here(): number[] {
    return Array.from({ length: this.#world.cut.pieceCount }, (_, piece) => piece).filter((piece) =>
      this.#picker.has(piece),
    );
  }

  #leave(other: SimulatedHost): void {
    if (!this.#sessions.delete(other.peer)) return;
    this.#seed?.leave(other.peer);
    this.#picker.leave(other.peer);
    this.#removeParent(other.peer);
    this.#show();
    this.#schedule();
  }

  #adopt(other: SimulatedHost): void {
    const { parents } = this.#asking;
    if (this.#shunned.has(other.peer) || parents.has(other.peer)) return;
    parents.set(other.peer, new Parent(other));
    const session = this.#sessions.get(other.peer);
    if (session !== undefined) this.#picker.parentHas(other.peer, session.announcements.theirs);
  }

  #removeParent(peer: PeerId): void {
    if (!this.#asking.parents.delete(peer)) return;
    this.#picker.parentGone(peer);
    for (const request of this.#requests) if (request.parent.peer === peer) this.#cancel(request);
  }

  #announce(session: Session, pieces: readonly number[]): void {
    session.announcements.add(pieces);
    this.#say(session);
  }

  #say(session: Session): void {
    const { events } = this.#world;
    const delayMs = session.announcements.delayMs(this.#sessions.size);
    if (delayMs === undefined) return;
    const dueAtMs = events.nowMs + delayMs;
    if (dueAtMs >= session.dueAtMs) return;
    session.dueAtMs = dueAtMs;
    events.after(delayMs, () => {
      if (session.dueAtMs !== dueAtMs) return;
      session.dueAtMs = Number.POSITIVE_INFINITY;
      if (this.isDead || this.#sessions.get(session.other.peer) !== session) return;
      const said = session.announcements.take();
      events.after(this.#latencyTo(session.other), () => session.other.#hear(this, said));
    });
  }

  #hear(from: SimulatedHost, pieces: readonly number[]): void {
    const session = this.#sessions.get(from.peer);
    if (session === undefined) return;
    session.announcements.heard(pieces);
    this.#say(session);
    if (this.#asking.parents.has(from.peer)) this.#picker.parentHas(from.peer, pieces);
    if (this.#seed !== undefined) {
      if (this.#seed.seenAt(from.peer, pieces) > 0) this.#seed.stir(this.#world.events.nowMs);
      this.#show();
    }
    this.#schedule();
  }

  #choke(isPressed: boolean): void {
    for (const { other } of this.#sessions.values()) {
      this.#world.events.after(this.#latencyTo(other), () => {
        other.#asking.parents.get(this.peer)?.choked(isPressed, this.#world.events.nowMs);
        if (!isPressed) other.#schedule();
      });
    }
  }

  #show(): void {
    for (const [peer, pieces] of this.#seed?.next() ?? []) {
      const session = this.#sessions.get(peer);
      if (session !== undefined) this.#announce(session, pieces);
    }
  }

  /** Pieces that nobody else is known to have. */
  #holdBack(piece: number): void {
    const { cut, events } = this.#world;
    if (this.#seed === undefined) {
      this.#seed = new SuperSeed(cut.pieceCount, shownAhead, events.nowMs);
      for (const { other, announcements } of this.#sessions.values()) {
        this.#seed.enter(other.peer, this.#world.distance(this, other));
        this.#seed.seenAt(other.peer, announcements.theirs);
      }
    }
    this.#seed.gained([piece]);
    if (this.#isReleasing) return;
    this.#isReleasing = true;
    const look = () => {
      if (this.isDead) return;
      if (this.#seed?.mayRelease(events.nowMs, this.slots.taken, this.slots.limit) !== true) {
        events.after(releaseLookMs, look);
        return;
      }
      const released = this.#seed?.release() ?? [];
      for (const session of this.#sessions.values()) this.#announce(session, released);
      this.#isReleasing = false;
    };
    events.after(releaseLookMs, look);
  }

  get #idleMs(): number {
    return this.#world.events.nowMs - this.#progressAtMs;
  }

  /** Whoever nothing came to for long reads upstream, whatever it was told. */
  #watchProgress(): void {
    if (!this.isWanting) return;
    this.#readUpstream();
    this.#world.events.after(Math.max(LOOK_MS, progressPatienceMs - this.#idleMs), () =>
      this.#watchProgress(),
    );
  }

  #readUpstream(): void {
    const { cut, events, registry } = this.#world;
    if (!this.isWanting || this.#reading !== undefined) return;
    if (!this.#mayReadUpstream && this.#idleMs < progressPatienceMs) return;
    const piece = this.#picker.claim(UPSTREAM);
    if (piece === undefined) return;
    const bytes = lengthOf(cut, piece);
    this.#reading = new Flow(events, [registry, this.down], bytes, () => {
      this.#reading = undefined;
      this.#upstreamBytes += bytes;
      this.#tellOrigin();
      this.#gained(piece, true);
      this.#readUpstream();
    });
  }

  #tellOrigin(): void {
    const { nowMs } = this.#world.events;
    if (nowMs - this.#originToldAtMs < originToldMs) return;
    this.#originToldAtMs = nowMs;
    this.#world.tell(this, { kind: 'originProgress', bytes: this.#upstreamBytes });
  }

  #gained(piece: number, isFirstHand: boolean): void {
    if (this.#picker.has(piece)) return;
    const { events } = this.#world;
    for (const peer of this.#picker.arrived(piece)) this.#withdraw(peer);
    this.#progressAtMs = events.nowMs;
    if (this.#picker.missing === 0) {
      this.finishedMs = events.nowMs - this.arrivedMs;
      this.#world.tell(this, { kind: 'have', pieces: this.have });
      this.#world.finished();
    } else if (events.nowMs - this.#haveToldAtMs >= haveIntervalMs) {
      this.#haveToldAtMs = events.nowMs;
      this.#world.tell(this, { kind: 'have', pieces: this.have });
    }
    if (isFirstHand) {
      this.#holdBack(piece);
      this.#show();
    } else {
      const pieces = [piece];
      for (const session of this.#sessions.values()) this.#announce(session, pieces);
    }
    if (this.finishedMs !== undefined) this.#partFromSeeds();
  }

  /** Two that have everything have nothing to say to each other. */
  #partFromSeeds(): void {
    for (const { other } of this.#sessions.values()) {
      if (other.isWanting) continue;
      this.#leave(other);
      other.#leave(this);
    }
  }

  /** Requests of a parent all of whose pieces came from elsewhere. */
  #withdraw(peer: PeerId): void {
    for (const request of this.#requests) {
      if (request.parent.peer === peer && request.pieces.every((piece) => this.#picker.has(piece)))
        this.#cancel(request);
    }
  }

  #schedule(): void {
    if (!this.isWanting) return;
    const { events } = this.#world;
    const isWaiting = this.#asking.schedule(events.nowMs, (parent, pieces) => {
      this.#ask(parent, pieces);
      return true;
    });
    if (!isWaiting || this.#isRetrying) return;
    this.#isRetrying = true;
    events.after(retryMs, () => {
      this.#isRetrying = false;
      this.#schedule();
    });
  }

  #ask(parent: Parent, pieces: readonly number[]): void {
    const { events } = this.#world;
    const { host } = parent;
    const request: Request = {
      parent,
      pieces,
      slot: { peer: this.peer, begin: () => this.#receive(request) },
      atMs: events.nowMs,
      next: 0,
      isQueued: false,
      flow: undefined,
      isOver: false,
    };
    this.#requests.add(request);
    this.#asking.began(parent);
    const bytes = this.#asking.bytesOf(pieces);
    events.after(this.#asking.hedgeAfterMs(parent, bytes), () => {
      if (request.isOver) return;
      for (const piece of pieces) this.#picker.hedge(piece);
      this.#schedule();
    });
    events.after(this.#latencyTo(host), () => {
      // Of who is dead the stream ends, too, and with it this.
      if (request.isOver || host.isDead) return;
      request.isQueued = true;
      if (host.slots.take(request.slot)) return;
      request.isQueued = false;
      events.after(this.#latencyTo(host), () => this.#refused(request));
    });
  }

  #refused(request: Request): void {
    if (request.isOver) return;
    const { parent } = request;
    this.#end(request);
    if (parent.refused(this.#world.events.nowMs, this.#world.chance())) {
      this.#world.tell(this, { kind: 'useless', peer: parent.peer });
      this.#shun(parent.host);
    }
    this.#schedule();
  }

  /** Nothing goes to or comes from it any more. */
  #shun(other: SimulatedHost): void {
    this.#shunned.add(other.peer);
    this.#leave(other);
    this.#world.events.after(this.#latencyTo(other), () => other.#leave(this));
  }

  /** The next piece of a request that has a slot. */
  #receive(request: Request): void {
    const { cut, events } = this.#world;
    const { host } = request.parent;
    const piece = request.pieces[request.next];
    if (piece === undefined || request.isOver || host.isDead) return;
    const bytes = lengthOf(cut, piece);
    request.flow = new Flow(events, this.#world.path(host, this), bytes, () => {
      request.flow = undefined;
      request.next += 1;
      this.#world.moved(host, this, bytes);
      const isLast = request.next === request.pieces.length;
      if (isLast) giveBack(request);
      else this.#receive(request);
      events.after(this.#latencyTo(host), () => {
        if (this.isDead || (request.isOver && isLast)) return;
        this.#take(request, piece, isLast);
      });
    });
  }

  #take(request: Request, piece: number, isLast: boolean): void {
    const { parent, pieces, atMs } = request;
    const { nowMs } = this.#world.events;
    if (parent.host.nature.isEvil) {
      this.#cancel(request);
      this.#world.tell(this, { kind: 'report', peer: parent.peer });
      this.#shun(parent.host);
      return;
    }
    if (isLast) {
      request.isOver = true;
      this.#requests.delete(request);
      parent.throughput.add(this.#asking.bytesOf(pieces), nowMs - atMs);
      parent.answered();
    }
    this.#gained(piece, false);
    this.#asking.gained(parent);
    if (isLast) {
      this.#asking.ended(parent, pieces);
      this.#schedule();
    }
  }

  /** Its answer is of no use any more, or there will be none. */
  #cancel(request: Request): void {
    if (request.isOver) return;
    const { host } = request.parent;
    this.#end(request);
    this.#world.events.after(this.#latencyTo(host), () => this.#stop(request));
  }

  #end(request: Request): void {
    request.isOver = true;
    this.#requests.delete(request);
    this.#asking.ended(request.parent, request.pieces);
  }

  #stop(request: Request): void {
    request.flow?.stop();
    request.flow = undefined;
    giveBack(request);
  }
}

function giveBack(request: Request): void {
  if (!request.isQueued) return;
  request.isQueued = false;
  request.parent.host.slots.give(request.slot);
}
