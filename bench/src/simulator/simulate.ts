import { createHash } from 'node:crypto';
import { SWARM_PEER_DEFAULTS } from '@drakkar/daemon';
import {
  blobKeyOf,
  type Cut,
  digestOf,
  distance,
  fixedCut,
  type Labels,
  type PeerId,
  peerIdFromRaw,
} from '@drakkar/protocol';
import { type BlobSize, SWARM_DEFAULTS, Swarm, type SwarmOptions, TURNS } from '@drakkar/supernode';
import { Events } from './events.ts';
import { type Nature, type Said, SimulatedHost, type World } from './host.ts';
import { Link } from './links.ts';

/** A distribution of one blob to hosts that want it, in a world of links alone. */
export interface Scene {
  readonly hosts: number;
  readonly pieces: number;
  readonly pieceBytes: number;
  /** Of each host's link, in each direction. */
  readonly linkBytesPerSecond: number;
  readonly registryBytesPerSecond?: number;
  /** One way, between hosts that are so far from each other: 0 for those of one place, and so on. */
  readonly latencyMs: (distance: number) => number;
  /** When each host begins to want the blob. */
  readonly arrivesAtMs?: (host: number) => number;
  readonly labels?: (host: number) => Labels;
  /** When each host dies, after its arrival, if it does. */
  readonly diesAtMs?: (host: number) => number | undefined;
  readonly nature?: (host: number) => Partial<Nature>;
  /** Of what is between the values of a label: between racks, between zones. In each direction, for each value. */
  readonly trunks?: { readonly label: string; readonly bytesPerSecond: number };
  readonly uploadSlots?: number;
  readonly swarm?: Partial<SwarmOptions>;
  readonly seed?: number;
  readonly untilMs: number;
}

export interface Outcome {
  /** When each host had everything, from its arrival on; `undefined` for who never did. */
  readonly finishedMs: readonly (number | undefined)[];
  readonly originBytes: number;
  readonly mostUploads: number;
  /** What hosts gave each other, by how far away from each other they are. */
  readonly bytesByDistance: readonly number[];
  /** What came into each place from elsewhere, by label and value, as in `zone=a`. */
  readonly bytesInto: ReadonlyMap<string, number>;
  readonly messages: { readonly toSupernode: number; readonly fromSupernode: number };
  /** CPU that the supernode's decisions took here. */
  readonly supernodeMs: number;
  readonly simulatedMs: number;
  readonly events: number;
}

/** Runs the supernode's and the daemons' pure cores against each other. The same scene gives the same outcome. */
export function simulate(scene: Scene): Outcome {
  return new Simulation(scene).run();
}

class Simulation implements World {
  readonly events = new Events();
  readonly cut: Cut;
  readonly registry: Link;
  readonly uploadSlots: number;
  readonly #scene: Scene;
  readonly #swarm: Swarm;
  readonly #blob: BlobSize;
  readonly #hosts = new Map<PeerId, SimulatedHost>();
  readonly #all: SimulatedHost[] = [];
  readonly #trunks = new Map<string, { readonly up: Link; readonly down: Link }>();
  readonly #bytesByDistance: number[] = [];
  readonly #bytesInto = new Map<string, number>();
  readonly #places: readonly string[];
  #left: number;
  #random: number;
  #mostUploads = 0;
  #isAdvising = false;
  #toSupernode = 0;
  #fromSupernode = 0;
  #supernodeMs = 0;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#places = scene.swarm?.localityLabels ?? SWARM_DEFAULTS.localityLabels;
    this.#swarm = new Swarm(scene.swarm);
    this.uploadSlots = scene.uploadSlots ?? SWARM_PEER_DEFAULTS.limits.uploadSlots;
    this.#left = scene.hosts;
    this.#random = scene.seed ?? 1;
    this.registry = new Link(scene.registryBytesPerSecond ?? scene.linkBytesPerSecond);
    this.cut = fixedCut(scene.pieces * scene.pieceBytes, scene.pieceBytes);
    this.#blob = {
      name: { digest: digestOf('blob'), origin: 'simulated' },
      sizeBytes: this.cut.sizeBytes,
      pieces: scene.pieces,
    };
  }

  run(): Outcome {
    const { hosts, arrivesAtMs = () => 0, untilMs } = this.#scene;
    for (let index = 0; index < hosts; index += 1) {
      this.events.after(arrivesAtMs(index), () => this.#arrive(index));
    }
    this.events.every(TURNS.expiryMs, () => this.#ask(() => void this.#swarm.expire(this.events.nowMs)));
    this.events.run(() => this.#left === 0, untilMs);
    return {
      finishedMs: this.#all.map(({ finishedMs }) => finishedMs),
      originBytes: this.registry.sentBytes,
      mostUploads: this.#mostUploads,
      bytesByDistance: this.#bytesByDistance,
      bytesInto: this.#bytesInto,
      messages: { toSupernode: this.#toSupernode, fromSupernode: this.#fromSupernode },
      supernodeMs: this.#supernodeMs,
      simulatedMs: this.events.nowMs,
      events: this.events.count,
    };
  }

  distance(one: SimulatedHost, other: SimulatedHost): number {
    return distance(one.nature.labels, other.nature.labels, this.#places);
  }

  latencyMs(one: SimulatedHost, other: SimulatedHost): number {
    return this.#scene.latencyMs(this.distance(one, other));
  }

  path(from: SimulatedHost, to: SimulatedHost): readonly Link[] {
    const { trunks } = this.#scene;
    if (trunks === undefined) return [from.up, to.down];
    const placeOf = ({ nature }: SimulatedHost) => nature.labels[trunks.label] ?? '';
    const [here, there] = [placeOf(from), placeOf(to)];
    if (here === there) return [from.up, to.down];
    return [from.up, this.#trunkOf(here).up, this.#trunkOf(there).down, to.down];
  }

  /** Source: the mixing function of SplitMix32. */
  chance(): number {
    this.#random = (this.#random + 0x9e3779b9) | 0;
    let mixed = this.#random ^ (this.#random >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  }

  tell(host: SimulatedHost, said: Said): void {
    this.#toSupernode += 1;
    this.events.after(this.#toSupernodeMs, () => {
      if (!this.#hosts.has(host.peer)) return;
      this.#ask(() => this.#hear(host.peer, said));
      this.#adviseSoon();
    });
  }

  moved(from: SimulatedHost, to: SimulatedHost, bytes: number): void {
    this.#mostUploads = Math.max(this.#mostUploads, from.slots.taken);
    const away = this.distance(from, to);
    this.#bytesByDistance[away] = (this.#bytesByDistance[away] ?? 0) + bytes;
    for (const label of this.#places.slice(0, away)) {
      const value = to.nature.labels[label];
      if (value === undefined || value === from.nature.labels[label]) continue;
      const place = `${label}=${value}`;
      this.#bytesInto.set(place, (this.#bytesInto.get(place) ?? 0) + bytes);
    }
  }

  finished(): void {
    this.#left -= 1;
  }

  get #toSupernodeMs(): number {
    return this.#scene.latencyMs(this.#places.length);
  }

  #trunkOf(place: string): { readonly up: Link; readonly down: Link } {
    const known = this.#trunks.get(place);
    if (known !== undefined) return known;
    const { bytesPerSecond = 0 } = this.#scene.trunks ?? {};
    const trunk = { up: new Link(bytesPerSecond), down: new Link(bytesPerSecond) };
    this.#trunks.set(place, trunk);
    return trunk;
  }

  #arrive(index: number): void {
    const { labels, linkBytesPerSecond, nature, diesAtMs } = this.#scene;
    const peer = peerIdFromRaw(
      createHash('sha256')
        .update(`${this.#scene.seed ?? 1} ${index}`)
        .digest(),
    );
    const host = new SimulatedHost(
      peer,
      index,
      {
        labels: labels?.(index) ?? {},
        bytesPerSecond: linkBytesPerSecond,
        isEvil: false,
        ...nature?.(index),
      },
      this,
    );
    this.#all[index] = host;
    this.events.after(this.#toSupernodeMs, () => this.#join(host));
    const dies = diesAtMs?.(index);
    if (dies !== undefined) this.events.after(dies, () => this.#die(host));
  }

  #join(host: SimulatedHost): void {
    if (host.isDead) return;
    const { peer, nature, index } = host;
    this.#hosts.set(peer, host);
    const { nowMs } = this.events;
    this.#toSupernode += 2;
    this.#ask(() => {
      const uploadSlots = host.slots.limit;
      const rest = { dataAddress: '', controlAddresses: [], roles: [], doesTasks: false };
      this.#swarm.join({ peer, name: `host-${index}`, labels: nature.labels, uploadSlots, ...rest }, nowMs);
      this.#swarm.want(peer, this.#blob, 0, nowMs);
    });
    this.#adviseSoon();
    this.events.after(SWARM_DEFAULTS.heartbeatMs, () => this.#beat(host));
  }

  #beat(host: SimulatedHost): void {
    if (host.isDead) return;
    this.#toSupernode += 1;
    const { taken } = host.slots;
    this.#ask(() => this.#swarm.heartbeat(host.peer, taken, this.events.nowMs));
    this.events.after(SWARM_DEFAULTS.heartbeatMs, () => this.#beat(host));
  }

  #die(host: SimulatedHost): void {
    if (host.isWanting) this.#left -= 1;
    host.die();
    this.events.after(this.#toSupernodeMs, () => {
      this.#hosts.delete(host.peer);
      this.#ask(() => this.#swarm.leave(host.peer));
      this.#adviseSoon();
    });
  }

  #hear(peer: PeerId, said: Said): void {
    const { nowMs } = this.events;
    const key = blobKeyOf(this.#blob.name);
    switch (said.kind) {
      case 'have':
        this.#swarm.have(peer, this.#blob, said.pieces, nowMs);
        break;
      case 'originProgress':
        this.#swarm.originProgress(peer, key, said.bytes, nowMs);
        break;
      case 'useless':
        this.#swarm.useless(peer, said.peer, key, nowMs);
        break;
      case 'report':
        this.#swarm.report(peer, said.peer, key, nowMs);
        break;
    }
  }

  #adviseSoon(): void {
    if (this.#isAdvising) return;
    this.#isAdvising = true;
    this.events.after(TURNS.adviceMs, () => {
      this.#isAdvising = false;
      const advices = this.#ask(() => this.#swarm.advise(this.events.nowMs));
      this.#fromSupernode += advices.length;
      for (const { to, parents, origin } of advices) {
        const named = parents.flatMap(({ peer }) => this.#hosts.get(peer) ?? []);
        this.events.after(this.#toSupernodeMs, () => this.#hosts.get(to)?.advise(named, origin));
      }
      if (this.#swarm.isStale || this.#swarm.isWaiting) this.#adviseSoon();
    });
  }

  /** The supernode does something. */
  #ask<Answer>(work: () => Answer): Answer {
    const startedMs = performance.now();
    const answer = work();
    this.#supernodeMs += performance.now() - startedMs;
    return answer;
  }
}
