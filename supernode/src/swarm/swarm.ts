import { type BlobKey, type BlobName, blobKeyOf, DrakkarError, type PeerId } from '@drakkar/protocol';
import { choose } from './choose.ts';
import { SWARM_DEFAULTS, type SwarmOptions } from './options.ts';
import { type BlobSwarm, type Host, isSeed, type Part } from './state.ts';

/** What a host is to be told: its parents for a blob, and whether it may read that from upstream. */
export interface Advice {
  readonly to: PeerId;
  readonly blob: BlobName;
  readonly parents: readonly Host[];
  readonly seeds: ReadonlySet<PeerId>;
  readonly origin: boolean;
}

export interface BlobSize {
  readonly name: BlobName;
  readonly sizeBytes: number;
  readonly pieces: number;
}

/**
 * Who takes part in which blob, and who shall get it from whom. A state machine without clock, sockets or disk: events go in with
 * the time at which they happen, and {@link Swarm.advise} says whom to tell what. All of it is soft: hosts say it again when
 * they come back.
 */
export class Swarm {
  readonly #options: SwarmOptions;
  readonly #hosts = new Map<PeerId, Host>();
  readonly #blobs = new Map<BlobKey, BlobSwarm>();
  /** Which blobs a host takes part in. */
  readonly #partsOf = new Map<PeerId, Set<BlobKey>>();
  /** By accused: who was sent wrong bytes by it, and when. */
  readonly #reports = new Map<PeerId, Map<PeerId, number>>();
  readonly #quarantinedUntilMs = new Map<PeerId, number>();
  /** Blobs of which somebody has to be told something. */
  readonly #stale = new Set<BlobKey>();

  constructor(options: Partial<SwarmOptions> = {}) {
    this.#options = { ...SWARM_DEFAULTS, ...options };
  }

  get hosts(): ReadonlyMap<PeerId, Host> {
    return this.#hosts;
  }

  get blobs(): ReadonlyMap<BlobKey, BlobSwarm> {
    return this.#blobs;
  }

  /** Blobs that a host takes part in. */
  blobsOf(peer: PeerId): number {
    return this.#partsOf.get(peer)?.size ?? 0;
  }

  /** A host has connected; whatever was known of it before is forgotten. */
  join(host: Omit<Host, 'uploads' | 'heardAtMs'>, nowMs: number): void {
    this.leave(host.peer);
    this.#hosts.set(host.peer, { ...host, uploads: 0, heardAtMs: nowMs });
  }

  /** A host is gone: nobody is sent to it from now on. */
  leave(peer: PeerId): void {
    if (!this.#hosts.delete(peer)) return;
    for (const key of this.#partsOf.get(peer) ?? []) {
      const swarm = this.#blobs.get(key);
      if (swarm !== undefined) this.#withdraw(swarm, peer);
    }
    this.#partsOf.delete(peer);
  }

  heartbeat(peer: PeerId, uploads: number, nowMs: number): void {
    const host = this.#hosts.get(peer);
    if (host === undefined) return;
    host.uploads = uploads;
    host.heardAtMs = nowMs;
  }

  /** @throws `invalid_argument` for a size that others contradict; `limit_exceeded` */
  want(peer: PeerId, blob: BlobSize, havePieces: number, nowMs: number): void {
    this.#take(peer, blob, { havePieces, wants: true }, nowMs);
  }

  /** @throws as {@link want} */
  have(peer: PeerId, blob: BlobSize, havePieces: number, nowMs: number): void {
    this.#take(peer, blob, { havePieces }, nowMs);
  }

  forget(peer: PeerId, key: BlobKey, what: { readonly want: boolean; readonly have: boolean }): void {
    const swarm = this.#blobs.get(key);
    const part = swarm?.parts.get(peer);
    if (swarm === undefined || part === undefined) return;
    if (what.want) {
      part.wants = false;
      this.#endOrigin(swarm, peer);
    }
    if (what.have) part.havePieces = 0;
    if (!part.wants && part.havePieces === 0) {
      this.#withdraw(swarm, peer);
      this.#partsOf.get(peer)?.delete(key);
    }
  }

  /** @returns whether the accused is in quarantine from now on, and was not before */
  report(reporter: PeerId, accused: PeerId, nowMs: number): boolean {
    if (reporter === accused || !this.#hosts.has(accused)) return false;
    const reports = this.#reports.get(accused) ?? new Map<PeerId, number>();
    this.#reports.set(accused, reports.set(reporter, nowMs));
    for (const key of this.#partsOf.get(accused) ?? []) this.#tellChildrenOf(key, accused);
    if (reports.size < this.#options.reportsToQuarantine || this.isQuarantined(accused, nowMs)) return false;
    this.quarantine(accused, nowMs + this.#options.quarantineMs);
    return true;
  }

  /** A parent gave a child nothing of a blob: the child is sent to others. */
  useless(child: PeerId, parent: PeerId, key: BlobKey, nowMs: number): void {
    const part = this.#blobs.get(key)?.parts.get(child);
    if (part === undefined || !part.parents.includes(parent)) return;
    part.useless.set(parent, nowMs + this.#options.uselessMs);
    part.stale = true;
    this.#stale.add(key);
  }

  quarantine(peer: PeerId, untilMs: number): void {
    this.#quarantinedUntilMs.set(peer, untilMs);
    for (const key of this.#partsOf.get(peer) ?? []) this.#tellChildrenOf(key, peer);
  }

  isQuarantined(peer: PeerId, nowMs: number): boolean {
    return (this.#quarantinedUntilMs.get(peer) ?? 0) > nowMs;
  }

  originProgress(peer: PeerId, key: BlobKey, bytes: number, nowMs: number): void {
    const origin = this.#blobs.get(key)?.origins.get(peer);
    if (origin === undefined || bytes <= origin.bytes) return;
    origin.bytes = bytes;
    origin.progressAtMs = nowMs;
  }

  /** The registry gives it nothing: somebody else may have more luck. */
  originRelease(peer: PeerId, key: BlobKey, nowMs: number): void {
    const swarm = this.#blobs.get(key);
    const part = swarm?.parts.get(peer);
    if (swarm === undefined || part === undefined) return;
    part.originLostAtMs = nowMs;
    this.#endOrigin(swarm, peer);
  }

  /** Ends what time has ended: hosts that are silent, leases without progress, reports and quarantines. @returns who is gone */
  expire(nowMs: number): PeerId[] {
    const gone = [...this.#hosts.values()].filter(
      ({ heardAtMs }) => nowMs - heardAtMs >= this.#options.silenceMs,
    );
    for (const { peer } of gone) this.leave(peer);
    for (const swarm of this.#blobs.values()) {
      for (const [peer, { progressAtMs }] of swarm.origins) {
        if (nowMs - progressAtMs < this.#options.originStallMs) continue;
        const part = swarm.parts.get(peer);
        if (part !== undefined) part.originLostAtMs = nowMs;
        this.#endOrigin(swarm, peer);
      }
    }
    for (const [accused, reports] of this.#reports) {
      for (const [reporter, atMs] of reports)
        if (nowMs - atMs >= this.#options.quarantineMs) reports.delete(reporter);
      if (reports.size === 0) this.#reports.delete(accused);
    }
    for (const [peer, untilMs] of this.#quarantinedUntilMs)
      if (untilMs <= nowMs) this.#quarantinedUntilMs.delete(peer);
    return gone.map(({ peer }) => peer);
  }

  /** What has to be said since this was last asked, at most one advice for each host and blob. */
  advise(nowMs: number): Advice[] {
    const all: Advice[] = [];
    for (const key of this.#stale) {
      const swarm = this.#blobs.get(key);
      if (swarm === undefined) continue;
      this.#grantOrigins(swarm, nowMs);
      for (const [child, part] of swarm.parts) {
        if (!part.wants || !part.stale) continue;
        part.stale = false;
        all.push(this.#adviceFor(child, part, swarm, nowMs));
      }
    }
    this.#stale.clear();
    return all;
  }

  #adviceFor(child: PeerId, part: Part, swarm: BlobSwarm, nowMs: number): Advice {
    const { localityLabels, candidates } = this.#options;
    const excluded = (parent: PeerId) => this.#isExcluded(parent, child, part, nowMs);
    part.parents = choose(child, swarm, { hosts: this.#hosts, excluded, localityLabels, candidates });
    return {
      to: child,
      blob: swarm.name,
      parents: part.parents.flatMap((parent) => this.#hosts.get(parent) ?? []),
      seeds: new Set(part.parents.filter((parent) => isSeedOf(swarm, parent))),
      origin: swarm.origins.has(child),
    };
  }

  #isExcluded(parent: PeerId, child: PeerId, part: Part, nowMs: number): boolean {
    const isUseless = (part.useless.get(parent) ?? 0) > nowMs;
    return isUseless || this.isQuarantined(parent, nowMs) || this.#reports.get(parent)?.has(child) === true;
  }

  #take(
    peer: PeerId,
    { name, sizeBytes, pieces }: BlobSize,
    news: { havePieces: number; wants?: boolean },
    nowMs: number,
  ): void {
    if (!this.#hosts.has(peer)) return;
    const key = blobKeyOf(name);
    const swarm = this.#blobs.get(key) ?? {
      name,
      sizeBytes,
      pieces,
      parts: new Map<PeerId, Part>(),
      origins: new Map(),
    };
    if (swarm.sizeBytes !== sizeBytes || swarm.pieces !== pieces || news.havePieces > pieces) {
      throw new DrakkarError(
        'invalid_argument',
        `${name.digest} has ${swarm.sizeBytes} bytes, not ${sizeBytes}`,
      );
    }
    const mine = this.#partsOf.get(peer) ?? new Set<BlobKey>();
    if (!mine.has(key) && mine.size >= this.#options.maxBlobsPerHost) {
      throw new DrakkarError('limit_exceeded', `a host takes part in ${mine.size} blobs already`);
    }
    this.#blobs.set(key, swarm);
    this.#partsOf.set(peer, mine.add(key));
    const known = swarm.parts.get(peer);
    const part = known ?? {
      havePieces: 0,
      wants: false,
      sinceMs: nowMs,
      parents: [],
      stale: false,
      originLostAtMs: 0,
      useless: new Map<PeerId, number>(),
    };
    const wasSeed = isSeed(swarm, part);
    part.havePieces = news.havePieces;
    if (news.wants === true) {
      part.wants = true;
      part.stale = true;
      this.#stale.add(key);
    }
    swarm.parts.set(peer, part);
    if (isSeed(swarm, part)) {
      part.wants = false;
      swarm.origins.delete(peer);
    }
    if (known === undefined || (!wasSeed && isSeed(swarm, part))) this.#tellWhoLacksParents(swarm, peer);
  }

  /** Somebody new may be a parent: worth telling those who know fewer than they may. */
  #tellWhoLacksParents(swarm: BlobSwarm, newcomer: PeerId): void {
    for (const [child, part] of swarm.parts) {
      if (child !== newcomer && part.wants && part.parents.length < this.#options.candidates) {
        part.stale = true;
        this.#stale.add(blobKeyOf(swarm.name));
      }
    }
  }

  #tellChildrenOf(key: BlobKey, parent: PeerId): void {
    const swarm = this.#blobs.get(key);
    for (const part of swarm?.parts.values() ?? []) {
      if (!part.parents.includes(parent)) continue;
      part.stale = true;
      this.#stale.add(key);
    }
  }

  #withdraw(swarm: BlobSwarm, peer: PeerId): void {
    swarm.parts.delete(peer);
    this.#endOrigin(swarm, peer);
    this.#tellChildrenOf(blobKeyOf(swarm.name), peer);
    if (swarm.parts.size === 0) this.#blobs.delete(blobKeyOf(swarm.name));
  }

  /** Somebody else may need the lease. */
  #endOrigin(swarm: BlobSwarm, peer: PeerId): void {
    if (!swarm.origins.delete(peer)) return;
    const part = swarm.parts.get(peer);
    if (part?.wants) part.stale = true;
    this.#stale.add(blobKeyOf(swarm.name));
  }

  /**
   * While some have no seed to go to, one of them has to read upstream: who has most, and of those who came first. Who had the lease
   * and made nothing of it comes last.
   */
  #grantOrigins(swarm: BlobSwarm, nowMs: number): void {
    const parts = [...swarm.parts];
    const seeds = parts.filter(([, part]) => isSeed(swarm, part)).map(([peer]) => peer);
    const waiting = parts
      .filter(([peer, { wants }]) => wants && !swarm.origins.has(peer))
      .filter(([peer, part]) => seeds.every((seed) => this.#isExcluded(seed, peer, part, nowMs)))
      .sort(
        ([, a], [, b]) =>
          a.originLostAtMs - b.originLostAtMs || b.havePieces - a.havePieces || a.sinceMs - b.sinceMs,
      );
    while (swarm.origins.size < this.#options.origins) {
      const next = waiting.shift();
      if (next === undefined) return;
      const [peer, part] = next;
      swarm.origins.set(peer, { bytes: 0, progressAtMs: nowMs });
      part.stale = true;
    }
  }
}

function isSeedOf(swarm: BlobSwarm, peer: PeerId): boolean {
  const part = swarm.parts.get(peer);
  return part !== undefined && isSeed(swarm, part);
}
