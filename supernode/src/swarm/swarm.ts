import {
  type BlobKey,
  type BlobName,
  blobKeyOf,
  type Digest,
  DrakkarError,
  type PeerId,
} from '@drakkar/protocol';
import { Choice } from './choose.ts';
import { SWARM_DEFAULTS, type SwarmOptions } from './options.ts';
import { type BlobSwarm, type Host, isSeed, type Origin, type Part } from './state.ts';

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

/** Whom a host was to ask for a blob: its parents, or upstream, too. */
export type ToldBefore = 'parents' | 'upstream';

/** Of those that have all of a blob so many are compared. */
const SEEDS_LOOKED_AT = 64;

/** What became of a report: nothing, nothing new, one more against a peer, or the one that puts it into quarantine. */
export type Verdict = 'unfounded' | 'repeated' | 'noted' | 'quarantined';

/**
 * Who takes part in which blob, and who shall get it from whom. A state machine without clock, sockets or disk: events go in with
 * the time at which they happen, and {@link Swarm.advise} says whom to tell what. All of it is soft: hosts say it again when
 * they come back.
 */
export class Swarm {
  readonly #options: SwarmOptions;
  readonly #hosts = new Map<PeerId, Host>();
  /** By key, size and number of pieces: whoever claims others than the rest is in a swarm of its own. */
  readonly #blobs = new Map<string, BlobSwarm>();
  readonly #ofDigest = new Map<Digest, Set<BlobSwarm>>();
  /** Which blobs a host takes part in. */
  readonly #partsOf = new Map<PeerId, Map<BlobKey, BlobSwarm>>();
  /** By accused: who was sent wrong bytes by it, and when. */
  readonly #reports = new Map<PeerId, Map<PeerId, number>>();
  readonly #quarantinedUntilMs = new Map<PeerId, number>();
  /** Blobs of which somebody has to be told something. */
  readonly #stale = new Set<BlobSwarm>();
  /** Blobs that wait for somebody who has fewer leases. */
  readonly #postponed = new Set<BlobSwarm>();

  constructor(options: Partial<SwarmOptions> = {}) {
    this.#options = { ...SWARM_DEFAULTS, ...options };
  }

  get hosts(): ReadonlyMap<PeerId, Host> {
    return this.#hosts;
  }

  get blobs(): Iterable<BlobSwarm> & { readonly size: number } {
    const { size } = this.#blobs;
    return { size, [Symbol.iterator]: () => this.#blobs.values() };
  }

  /** Those of one digest: of each origin, cut in each way, and of each size that it is said to have. */
  swarmsOf(digest: Digest): Iterable<BlobSwarm> {
    return this.#ofDigest.get(digest) ?? [];
  }

  find(blob: BlobSize): BlobSwarm | undefined {
    return this.#blobs.get(shapeOf(blob));
  }

  /** Some hosts, the idlest of those that are looked at, that have all of a blob and may be asked for it. */
  seedsOf(blob: BlobSize, nowMs: number, most: number): Host[] {
    const swarm = this.find(blob);
    if (swarm === undefined) return [];
    return swarm.parts
      .entries()
      .filter(([peer, part]) => isSeed(swarm, part) && !this.isQuarantined(peer, nowMs))
      .map(([peer]) => this.#hosts.get(peer))
      .filter((host) => host !== undefined)
      .take(SEEDS_LOOKED_AT)
      .toArray()
      .sort((one, other) => loadOf(one) - loadOf(other))
      .slice(0, most);
  }

  /** Whether a host that is here has all of a blob. */
  hasSeed(blob: BlobSize): boolean {
    const swarm = this.find(blob);
    return swarm?.parts.values().some((part) => isSeed(swarm, part)) === true;
  }

  /** The swarm of a blob in which a host takes part. */
  swarmOf(peer: PeerId, key: BlobKey): BlobSwarm | undefined {
    return this.#partsOf.get(peer)?.get(key);
  }

  /** Whether somebody has to be told something. */
  get isStale(): boolean {
    return this.#stale.size > 0;
  }

  /** Whether there may be something to tell after a while, without anything having happened. */
  get isWaiting(): boolean {
    return this.#postponed.size > 0;
  }

  /** Blobs that a host takes part in. */
  blobsOf(peer: PeerId): number {
    return this.#partsOf.get(peer)?.size ?? 0;
  }

  /** A host has connected; whatever was known of it before is forgotten. */
  join(host: Omit<Host, 'uploads' | 'heardAtMs' | 'gainedAtMs' | 'leases'>, nowMs: number): void {
    this.leave(host.peer);
    this.#hosts.set(host.peer, { ...host, uploads: 0, heardAtMs: nowMs, gainedAtMs: nowMs, leases: 0 });
  }

  /** Everybody who wants something is to be told anew: what comes with the advice ends some time. */
  remind(): void {
    for (const swarm of this.#blobs.values()) {
      for (const part of swarm.parts.values()) {
        if (!part.wants) continue;
        part.stale = true;
        this.#stale.add(swarm);
      }
    }
  }

  /** A host is gone: nobody is sent to it from now on. */
  leave(peer: PeerId): void {
    if (!this.#hosts.delete(peer)) return;
    for (const swarm of this.#partsOf.get(peer)?.values() ?? []) this.#withdraw(swarm, peer);
    this.#partsOf.delete(peer);
  }

  heartbeat(peer: PeerId, uploads: number, nowMs: number): void {
    const host = this.#hosts.get(peer);
    if (host === undefined) return;
    host.uploads = uploads;
    host.heardAtMs = nowMs;
  }

  /**
   * @param before what was said to it about the blob, where it comes from another supernode, or this one has begun anew
   * @throws `limit_exceeded` for more blobs than a host may take part in
   */
  want(peer: PeerId, blob: BlobSize, havePieces: number, nowMs: number, before?: ToldBefore): void {
    this.#take(peer, blob, { havePieces, wants: true }, nowMs);
    const swarm = this.swarmOf(peer, blobKeyOf(blob.name));
    const part = swarm?.parts.get(peer);
    if (swarm === undefined || part?.wants !== true) return;
    part.isReturning = before !== undefined;
    if (before !== 'upstream') return;
    // Who has read nothing yet gives way to who was in the middle of it.
    const isIdle = ([peer, { bytes }]: readonly [PeerId, Origin]) =>
      bytes === 0 && swarm.parts.get(peer)?.isReturning !== true;
    const idle = swarm.origins.entries().find(isIdle)?.[0];
    if (swarm.origins.size >= this.#options.origins && idle !== undefined) this.#endOrigin(swarm, idle);
    if (swarm.origins.size < this.#options.origins) this.#lease(swarm, peer, nowMs);
  }

  /** @throws as {@link want} */
  have(peer: PeerId, blob: BlobSize, havePieces: number, nowMs: number, cells = 0n): void {
    this.#take(peer, blob, { havePieces, cells }, nowMs);
  }

  forget(peer: PeerId, key: BlobKey, what: { readonly want: boolean; readonly have: boolean }): void {
    const swarm = this.swarmOf(peer, key);
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

  /** What a host says of a peer that sent it wrong bytes. Only who was sent to that peer has anything to say about it. */
  report(reporter: PeerId, accused: PeerId, key: BlobKey, nowMs: number): Verdict {
    const part = this.swarmOf(reporter, key)?.parts.get(reporter);
    if (part?.named.has(accused) !== true || !this.#hosts.has(accused)) return 'unfounded';
    const reports = this.#reports.get(accused) ?? new Map<PeerId, number>();
    const isRepeated = reports.has(reporter);
    this.#reports.set(accused, reports.set(reporter, nowMs));
    const isProven = reports.size >= this.#options.reportsToQuarantine && !this.isQuarantined(accused, nowMs);
    if (isRepeated && !isProven) return 'repeated';
    for (const swarm of this.#partsOf.get(accused)?.values() ?? []) this.#tellChildrenOf(swarm, accused);
    if (!isProven) return 'noted';
    this.quarantine(accused, nowMs + this.#options.quarantineMs);
    return 'quarantined';
  }

  /** A parent gave a child nothing of a blob: the child is sent to others. */
  useless(child: PeerId, parent: PeerId, key: BlobKey, nowMs: number): void {
    const swarm = this.swarmOf(child, key);
    const part = swarm?.parts.get(child);
    if (swarm === undefined || part?.named.has(parent) !== true) return;
    part.useless ??= new Map();
    part.useless.set(parent, nowMs + this.#options.uselessMs);
    part.stale = true;
    this.#stale.add(swarm);
  }

  quarantine(peer: PeerId, untilMs: number): void {
    this.#quarantinedUntilMs.set(peer, untilMs);
    for (const swarm of this.#partsOf.get(peer)?.values() ?? []) this.#tellChildrenOf(swarm, peer);
  }

  isQuarantined(peer: PeerId, nowMs: number): boolean {
    return (this.#quarantinedUntilMs.get(peer) ?? 0) > nowMs;
  }

  originProgress(peer: PeerId, key: BlobKey, bytes: number, nowMs: number): void {
    const swarm = this.swarmOf(peer, key);
    const origin = swarm?.origins.get(peer);
    // Nobody makes progress for ever.
    if (
      swarm === undefined ||
      origin === undefined ||
      bytes <= origin.bytes ||
      origin.bytes >= swarm.sizeBytes
    )
      return;
    origin.bytes = bytes;
    origin.progressAtMs = nowMs;
  }

  /** The registry gives it nothing: somebody else may have more luck. */
  originRelease(peer: PeerId, key: BlobKey, nowMs: number): void {
    const swarm = this.swarmOf(peer, key);
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
      // Whoever gains nothing from anybody may have to read upstream by now.
      if (
        swarm.origins.size === 0 &&
        swarm.parts
          .values()
          .some(({ wants, useless, isReturning }) => wants && (useless !== undefined || isReturning))
      )
        this.#stale.add(swarm);
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

  /**
   * What has to be said since this was last asked, at most one advice for each host and blob, and at most `limit` of them: the rest
   * comes next time.
   */
  advise(nowMs: number, limit = Number.POSITIVE_INFINITY): Advice[] {
    const all: Advice[] = [];
    for (const swarm of this.#postponed) this.#stale.add(swarm);
    this.#postponed.clear();
    for (const swarm of this.#stale) {
      this.#grantOrigins(swarm, nowMs);
      let choice: Choice | undefined;
      for (const [child, part] of swarm.parts) {
        if (!part.wants || !part.stale) continue;
        if (all.length >= limit) return all;
        part.stale = false;
        choice ??= new Choice(swarm, this.#hosts, this.#options);
        all.push(this.#adviceFor(child, part, swarm, choice, nowMs));
      }
      this.#stale.delete(swarm);
    }
    return all;
  }

  #adviceFor(child: PeerId, part: Part, swarm: BlobSwarm, choice: Choice, nowMs: number): Advice {
    for (const parent of part.parents) swarm.children.get(parent)?.delete(child);
    part.parents = choice.of(child, (parent) => this.#isExcluded(parent, child, part, nowMs));
    for (const parent of part.parents) {
      const children = swarm.children.get(parent) ?? new Set<PeerId>();
      swarm.children.set(parent, children.add(child));
      // Both ask each other once they have met.
      name(part, parent);
      const other = swarm.parts.get(parent);
      if (other !== undefined) name(other, child);
    }
    if (part.parents.length < this.#options.candidates) swarm.hungry.add(child);
    else swarm.hungry.delete(child);
    return {
      to: child,
      blob: swarm.name,
      parents: part.parents.flatMap((parent) => this.#hosts.get(parent) ?? []),
      seeds: new Set(part.parents.filter((parent) => isSeedOf(swarm, parent))),
      origin: swarm.origins.has(child),
    };
  }

  #isExcluded(parent: PeerId, child: PeerId, part: Part, nowMs: number): boolean {
    return isUselessTo(part, parent, nowMs) || this.#isSuspect(parent, child, nowMs);
  }

  #isSuspect(parent: PeerId, child: PeerId, nowMs: number): boolean {
    return this.isQuarantined(parent, nowMs) || this.#reports.get(parent)?.has(child) === true;
  }

  #gains(peer: PeerId, part: Part, nowMs: number): boolean {
    const { gainMs, busyGainMs } = this.#options;
    const host = this.#hosts.get(peer);
    const isBusy = host !== undefined && nowMs - host.gainedAtMs < gainMs;
    return nowMs - part.gainedAtMs < (isBusy ? busyGainMs : gainMs);
  }

  /** Whether anybody may give something to a child: where the seeds are just busy, the registry is no help. */
  #hasOtherSource(swarm: BlobSwarm, child: PeerId, part: Part, nowMs: number): boolean {
    return swarm.parts
      .entries()
      .some(
        ([peer, { havePieces }]) =>
          peer !== child && havePieces > 0 && !this.#isExcluded(peer, child, part, nowMs),
      );
  }

  #take(
    peer: PeerId,
    blob: BlobSize,
    news: { havePieces: number; wants?: boolean; cells?: bigint },
    nowMs: number,
  ): void {
    const host = this.#hosts.get(peer);
    if (host === undefined) return;
    const key = blobKeyOf(blob.name);
    const mine = this.#partsOf.get(peer) ?? new Map<BlobKey, BlobSwarm>();
    const before = mine.get(key);
    if (before === undefined && mine.size >= this.#options.maxBlobsPerHost) {
      throw new DrakkarError('limit_exceeded', `a host takes part in ${mine.size} blobs already`);
    }
    const swarm = this.find(blob) ?? this.#begin(blob);
    if (before !== undefined && before !== swarm) this.#withdraw(before, peer);
    this.#partsOf.set(peer, mine.set(key, swarm));
    const known = swarm.parts.get(peer);
    const part = known ?? {
      havePieces: 0,
      cells: 0n,
      wants: false,
      sinceMs: nowMs,
      isReturning: false,
      gainedAtMs: nowMs,
      parents: [],
      named: new Set<PeerId>(),
      stale: false,
      originLostAtMs: 0,
      useless: undefined,
    };
    const wasSeed = isSeed(swarm, part);
    const havePieces = Math.min(news.havePieces, blob.pieces);
    if (havePieces > part.havePieces) {
      part.gainedAtMs = nowMs;
      host.gainedAtMs = nowMs;
    }
    part.havePieces = havePieces;
    if (news.cells !== undefined) part.cells = news.cells;
    if (news.wants === true) {
      part.wants = true;
      part.stale = true;
      this.#stale.add(swarm);
    }
    swarm.parts.set(peer, part);
    if (isSeed(swarm, part)) {
      part.wants = false;
      this.#endLease(swarm, peer);
    }
    if (known === undefined || (!wasSeed && isSeed(swarm, part))) this.#tellWhoLacksParents(swarm, peer);
  }

  /** Somebody new may be a parent: worth telling those who know fewer than they may. */
  #tellWhoLacksParents(swarm: BlobSwarm, newcomer: PeerId): void {
    for (const child of swarm.hungry) {
      const part = swarm.parts.get(child);
      if (child === newcomer || part?.wants !== true) continue;
      part.stale = true;
      this.#stale.add(swarm);
    }
  }

  #tellChildrenOf(swarm: BlobSwarm, parent: PeerId): void {
    for (const child of swarm.children.get(parent) ?? []) {
      const part = swarm.parts.get(child);
      if (part === undefined) continue;
      part.stale = true;
      this.#stale.add(swarm);
    }
  }

  #withdraw(swarm: BlobSwarm, peer: PeerId): void {
    const part = swarm.parts.get(peer);
    for (const parent of part?.parents ?? []) swarm.children.get(parent)?.delete(peer);
    swarm.parts.delete(peer);
    swarm.hungry.delete(peer);
    this.#endOrigin(swarm, peer);
    this.#tellChildrenOf(swarm, peer);
    swarm.children.delete(peer);
    if (swarm.parts.size > 0) return;
    this.#drop(swarm);
  }

  #begin(blob: BlobSize): BlobSwarm {
    const swarm = emptySwarm(blob);
    this.#blobs.set(shapeOf(swarm), swarm);
    const { digest } = swarm.name;
    const all = this.#ofDigest.get(digest);
    if (all === undefined) this.#ofDigest.set(digest, new Set([swarm]));
    else all.add(swarm);
    return swarm;
  }

  #drop(swarm: BlobSwarm): void {
    this.#blobs.delete(shapeOf(swarm));
    const { digest } = swarm.name;
    const all = this.#ofDigest.get(digest);
    all?.delete(swarm);
    if (all?.size === 0) this.#ofDigest.delete(digest);
    this.#stale.delete(swarm);
    this.#postponed.delete(swarm);
  }

  /** Somebody else may need the lease. */
  #endOrigin(swarm: BlobSwarm, peer: PeerId): void {
    if (!this.#endLease(swarm, peer)) return;
    const part = swarm.parts.get(peer);
    if (part?.wants) part.stale = true;
    this.#stale.add(swarm);
  }

  /** @returns whether there was one */
  #endLease(swarm: BlobSwarm, peer: PeerId): boolean {
    if (!swarm.origins.delete(peer)) return false;
    const host = this.#hosts.get(peer);
    if (host !== undefined) host.leases -= 1;
    return true;
  }

  /**
   * While some have no seed to go to, one of them has to read upstream: who has most, and of those who came first. Who had the lease
   * and made nothing of it comes last. Who reads other blobs leaves this one to others for a while: what one host has read leaves over its
   * link alone.
   */
  #grantOrigins(swarm: BlobSwarm, nowMs: number): void {
    if (swarm.origins.size >= this.#options.origins) return;
    const parts = [...swarm.parts];
    const seeds = parts.filter(([, part]) => isSeed(swarm, part)).map(([peer]) => peer);
    const waiting = parts
      .filter(([peer, { wants }]) => wants && !swarm.origins.has(peer))
      .filter(([peer, part]) => {
        const gains = this.#gains(peer, part, nowMs);
        if (gains && part.isReturning) return false;
        const mayWait = gains && this.#hasOtherSource(swarm, peer, part, nowMs);
        return seeds.every(
          (seed) => this.#isSuspect(seed, peer, nowMs) || (!mayWait && isUselessTo(part, seed, nowMs)),
        );
      })
      .sort(
        ([peerA, a], [peerB, b]) =>
          a.originLostAtMs - b.originLostAtMs ||
          b.havePieces - a.havePieces ||
          this.#leasesOf(peerA) - this.#leasesOf(peerB) ||
          a.sinceMs - b.sinceMs,
      );
    let isPostponed = false;
    for (const [peer, part] of waiting) {
      const host = this.#hosts.get(peer);
      if (host === undefined) continue;
      if (nowMs - part.sinceMs < this.#waitsForOthersMs(host)) {
        isPostponed = true;
        continue;
      }
      this.#lease(swarm, peer, nowMs);
      part.stale = true;
      if (swarm.origins.size >= this.#options.origins) return;
    }
    if (isPostponed) this.#postponed.add(swarm);
  }

  #lease(swarm: BlobSwarm, peer: PeerId, nowMs: number): void {
    const host = this.#hosts.get(peer);
    if (host === undefined || swarm.origins.has(peer)) return;
    swarm.origins.set(peer, { bytes: 0, progressAtMs: nowMs });
    host.leases += 1;
  }

  #waitsForOthersMs({ leases }: Host): number {
    const { leasesAtOnce, leaseSpreadMs, mostLeaseSpreadMs } = this.#options;
    const tooMany = leases + 1 - leasesAtOnce;
    return tooMany > 0 && this.#hosts.size > 1
      ? Math.min(tooMany * leaseSpreadMs, mostLeaseSpreadMs)
      : Number.NEGATIVE_INFINITY;
  }

  #leasesOf(peer: PeerId): number {
    return this.#hosts.get(peer)?.leases ?? 0;
  }
}

/** Of one child: more than it ever deals with. */
const MAX_NAMED = 512;

function name(part: Part, peer: PeerId): void {
  if (part.named.size < MAX_NAMED) part.named.add(peer);
}

const loadOf = ({ uploads, uploadSlots }: Host): number => uploads / Math.max(1, uploadSlots);

const shapeOf = ({ name, sizeBytes, pieces }: BlobSize): string =>
  `${blobKeyOf(name)} ${sizeBytes} ${pieces}`;

function emptySwarm({ name, sizeBytes, pieces }: BlobSize): BlobSwarm {
  return {
    name,
    sizeBytes,
    pieces,
    parts: new Map(),
    origins: new Map(),
    hungry: new Set(),
    children: new Map(),
  };
}

const isUselessTo = (part: Part, parent: PeerId, nowMs: number): boolean =>
  (part.useless?.get(parent) ?? 0) > nowMs;

function isSeedOf(swarm: BlobSwarm, peer: PeerId): boolean {
  const part = swarm.parts.get(peer);
  return part !== undefined && isSeed(swarm, part);
}
