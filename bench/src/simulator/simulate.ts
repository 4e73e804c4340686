import { PiecePicker, SuperSeed } from '@drakkar/daemon';
import {
  blobKeyOf,
  digestOf,
  distance,
  type Labels,
  LOCALITY_LABELS,
  type PeerId,
  peerIdFromRaw,
} from '@drakkar/protocol';
import { type Advice, type BlobSize, Swarm, type SwarmOptions } from '@drakkar/supernode';
import { Events } from './events.ts';

/** A distribution of one blob to hosts that want it, in a world of links alone. */
export interface Scene {
  readonly hosts: number;
  readonly pieces: number;
  readonly pieceBytes: number;
  /** Of each host's link, in each direction, and of the registry's. */
  readonly linkBytesPerSecond: number;
  readonly latencyMs: number;
  /** From one host's arrival to the next. */
  readonly arrivalMs: number;
  readonly labels?: (host: number) => Labels;
  /** When each host dies, if it does. */
  readonly diesAtMs?: (host: number) => number | undefined;
  readonly swarm?: Partial<SwarmOptions>;
  readonly untilMs: number;
}

export interface Outcome {
  /** When each host had everything, from its arrival on; `undefined` for who never did. */
  readonly finishedMs: readonly (number | undefined)[];
  readonly originBytes: number;
  readonly mostUploads: number;
  /** Between hosts that share no place. */
  readonly farBytes: number;
}

const UPLOAD_SLOTS = 8;
const DOWNLOADS = 12;
const DOWNLOADS_OF_ONE_PARENT = 2;
const SHOWN_AHEAD = 4;
const ADVICE_MS = 50;
const HEARTBEAT_MS = 4_000;
const RELEASE_MS = 1_000;

interface SimulatedHost {
  readonly peer: PeerId;
  readonly index: number;
  readonly arrivedMs: number;
  readonly labels: Labels;
  readonly picker: PiecePicker;
  readonly seed: SuperSeed;
  /** When a child last gained something. */
  newsAtMs: number;
  parents: SimulatedHost[];
  readonly children: Set<SimulatedHost>;
  readonly downloadsFrom: Map<PeerId, number>;
  uploads: number;
  downloads: number;
  reading: boolean;
  isOrigin: boolean;
  finishedMs: number | undefined;
  isDead: boolean;
}

/** Runs the supernode's and the daemons' pure cores against each other. The same scene gives the same outcome. */
export function simulate(scene: Scene): Outcome {
  return new Simulation(scene).run();
}

class Simulation {
  readonly #scene: Scene;
  readonly #events = new Events();
  readonly #swarm: Swarm;
  readonly #hosts = new Map<PeerId, SimulatedHost>();
  readonly #all: SimulatedHost[] = [];
  readonly #blob: BlobSize;
  #originBytes = 0;
  #mostUploads = 0;
  #farBytes = 0;
  #registryReaders = 0;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#swarm = new Swarm(scene.swarm);
    this.#blob = {
      name: { digest: digestOf('blob'), origin: 'simulated' },
      sizeBytes: scene.pieces * scene.pieceBytes,
      pieces: scene.pieces,
    };
  }

  run(): Outcome {
    for (let index = 0; index < this.#scene.hosts; index += 1) {
      this.#events.after(index * this.#scene.arrivalMs, () => this.#arrive(index));
    }
    this.#every(ADVICE_MS, () => {
      for (const peer of this.#swarm.expire(this.#events.nowMs)) this.#hosts.delete(peer);
      for (const advice of this.#swarm.advise(this.#events.nowMs)) this.#follow(advice);
    });
    this.#every(HEARTBEAT_MS, () => {
      for (const host of this.#all) {
        if (!host.isDead) this.#swarm.heartbeat(host.peer, host.uploads, this.#events.nowMs);
      }
    });
    this.#every(RELEASE_MS / 4, () => {
      for (const host of this.#all) {
        if (host.seed.heldBack === 0 || this.#events.nowMs - host.newsAtMs < RELEASE_MS) continue;
        this.#announce(host, host.seed.release());
      }
    });
    const isOver = () =>
      this.#all.length === this.#scene.hosts &&
      this.#all.every(({ finishedMs, isDead }) => finishedMs !== undefined || isDead);
    this.#events.run(isOver, this.#scene.untilMs);
    return {
      finishedMs: this.#all.map(({ finishedMs }) => finishedMs),
      originBytes: this.#originBytes,
      mostUploads: this.#mostUploads,
      farBytes: this.#farBytes,
    };
  }

  #every(periodMs: number, happen: () => void): void {
    const again = () => {
      happen();
      this.#events.after(periodMs, again);
    };
    this.#events.after(0, again);
  }

  #arrive(index: number): void {
    const raw = Buffer.alloc(32);
    raw.writeUInt32BE(index + 1);
    const peer = peerIdFromRaw(raw);
    const host: SimulatedHost = {
      peer,
      index,
      arrivedMs: this.#events.nowMs,
      labels: this.#scene.labels?.(index) ?? {},
      picker: new PiecePicker(this.#scene.pieces, [], peer),
      seed: new SuperSeed(this.#scene.pieces, SHOWN_AHEAD),
      newsAtMs: this.#events.nowMs,
      parents: [],
      children: new Set(),
      downloadsFrom: new Map(),
      uploads: 0,
      downloads: 0,
      reading: false,
      isOrigin: false,
      finishedMs: undefined,
      isDead: false,
    };
    this.#hosts.set(peer, host);
    this.#all.push(host);
    this.#swarm.join(
      {
        peer,
        name: `host-${index}`,
        dataAddress: '',
        controlAddresses: [],
        labels: host.labels,
        uploadSlots: UPLOAD_SLOTS,
        roles: [],
        doesTasks: false,
      },
      this.#events.nowMs,
    );
    this.#swarm.want(peer, this.#blob, 0, this.#events.nowMs);
    const diesAtMs = this.#scene.diesAtMs?.(index);
    if (diesAtMs !== undefined) this.#events.after(diesAtMs, () => this.#die(host));
  }

  #die(host: SimulatedHost): void {
    host.isDead = true;
    for (const child of host.children) {
      child.picker.parentGone(host.peer);
      child.picker.leave(host.peer);
      child.parents = child.parents.filter((parent) => parent !== host);
    }
    for (const parent of host.parents) {
      parent.children.delete(host);
      parent.seed.leave(host.peer);
      parent.picker.leave(host.peer);
      this.#show(parent);
    }
    for (const other of this.#all) this.#fetch(other);
  }

  #follow({ to, parents, origin }: Advice): void {
    const host = this.#hosts.get(to);
    if (host === undefined || host.isDead) return;
    const named = parents.flatMap(({ peer }) => this.#hosts.get(peer) ?? []).filter(({ isDead }) => !isDead);
    for (const gone of host.parents.filter((parent) => !named.includes(parent))) {
      host.picker.parentGone(gone.peer);
      host.picker.leave(gone.peer);
      gone.children.delete(host);
      gone.seed.leave(host.peer);
    }
    const fresh = named.filter((parent) => !host.parents.includes(parent));
    host.parents = named;
    for (const parent of fresh) this.#meet(host, parent);
    host.isOrigin = origin;
    if (origin) this.#readUpstream(host);
    this.#fetch(host);
  }

  #meet(child: SimulatedHost, parent: SimulatedHost): void {
    parent.children.add(child);
    const away = distance(child.labels, parent.labels);
    parent.seed.enter(child.peer, away);
    parent.picker.enter(child.peer, away);
    child.picker.enter(parent.peer, away);
    const pieces = this.#piecesOf(parent);
    child.picker.parentHas(
      parent.peer,
      pieces.filter((piece) => !parent.seed.isHeldBack(piece)),
    );
    parent.seed.seenAt(child.peer, this.#piecesOf(child));
    parent.newsAtMs = this.#events.nowMs;
    this.#show(parent);
  }

  #piecesOf(host: SimulatedHost): number[] {
    return Array.from({ length: this.#scene.pieces }, (_, piece) => piece).filter((piece) =>
      host.picker.has(piece),
    );
  }

  /** What all children of a parent may know. */
  #announce(parent: SimulatedHost, pieces: readonly number[]): void {
    if (pieces.length === 0) return;
    for (const child of parent.children) {
      this.#events.after(this.#scene.latencyMs, () => {
        child.picker.parentHas(parent.peer, pieces);
        this.#fetch(child);
      });
    }
  }

  /** What a parent shows anew, to those whom its super-seeding names. */
  #show(parent: SimulatedHost): void {
    for (const [peer, pieces] of parent.seed.next()) {
      const child = this.#hosts.get(peer);
      if (child === undefined) continue;
      this.#events.after(this.#scene.latencyMs, () => {
        child.picker.parentHas(parent.peer, pieces);
        this.#fetch(child);
      });
    }
  }

  #readUpstream(host: SimulatedHost): void {
    if (host.reading || host.isDead || !host.isOrigin) return;
    const piece = Array.from({ length: this.#scene.pieces }, (_, index) => index).find(
      (index) => !host.picker.has(index),
    );
    if (piece === undefined) return;
    host.reading = true;
    this.#registryReaders += 1;
    const ms = (this.#scene.pieceBytes * this.#registryReaders * 1000) / this.#scene.linkBytesPerSecond;
    this.#events.after(ms, () => {
      host.reading = false;
      this.#registryReaders -= 1;
      if (host.isDead) return;
      this.#originBytes += this.#scene.pieceBytes;
      const have = this.#scene.pieces - host.picker.missing + 1;
      this.#swarm.originProgress(
        host.peer,
        blobKeyOf(this.#blob.name),
        have * this.#scene.pieceBytes,
        this.#events.nowMs,
      );
      host.seed.gained([piece]);
      this.#gain(host, piece, false);
      this.#readUpstream(host);
    });
  }

  #gain(host: SimulatedHost, piece: number, isForAll: boolean): void {
    if (host.picker.has(piece)) return;
    host.picker.arrived(piece);
    this.#swarm.have(host.peer, this.#blob, this.#scene.pieces - host.picker.missing, this.#events.nowMs);
    if (host.picker.missing === 0) host.finishedMs = this.#events.nowMs - host.arrivedMs;
    if (isForAll) this.#announce(host, [piece]);
    for (const parent of host.parents) {
      parent.seed.seenAt(host.peer, [piece]);
      parent.newsAtMs = this.#events.nowMs;
      this.#show(parent);
    }
    this.#show(host);
  }

  #fetch(host: SimulatedHost): void {
    if (host.isDead || host.picker.missing === 0) return;
    for (const parent of host.parents) {
      while (
        host.downloads < DOWNLOADS &&
        parent.uploads < UPLOAD_SLOTS &&
        !parent.isDead &&
        (host.downloadsFrom.get(parent.peer) ?? 0) < DOWNLOADS_OF_ONE_PARENT
      ) {
        const piece = host.picker.pick(parent.peer);
        if (piece === undefined) break;
        this.#transfer(host, parent, piece);
      }
    }
  }

  #transfer(child: SimulatedHost, parent: SimulatedHost, piece: number): void {
    const count = (delta: number) => {
      child.downloads += delta;
      parent.uploads += delta;
      child.downloadsFrom.set(parent.peer, (child.downloadsFrom.get(parent.peer) ?? 0) + delta);
    };
    count(1);
    this.#mostUploads = Math.max(this.#mostUploads, parent.uploads);
    const sharers = Math.max(parent.uploads, child.downloads + (child.reading ? 1 : 0));
    const ms =
      this.#scene.latencyMs + (this.#scene.pieceBytes * sharers * 1000) / this.#scene.linkBytesPerSecond;
    this.#events.after(ms, () => {
      count(-1);
      if (child.isDead) return;
      if (parent.isDead) child.picker.failed(piece, parent.peer);
      else {
        if (distance(child.labels, parent.labels) === LOCALITY_LABELS.length)
          this.#farBytes += this.#scene.pieceBytes;
        this.#gain(child, piece, true);
      }
      this.#fetch(child);
      for (const other of parent.children) this.#fetch(other);
    });
  }
}
