import type { Digest, PeerId } from '@drakkar/protocol';

/** What a host is told about a name. */
export interface NameAnswer {
  readonly to: PeerId;
  readonly key: Digest;
  readonly meaning: NameMeaning | 'yours' | 'wait';
}

export interface NameMeaning {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface NamesOptions {
  /** Names known or asked for; the one that was of interest longest ago goes first. */
  readonly maxNames: number;
  /** That one host asks for at a time. */
  readonly maxAsked: number;
  /** That are known from one host; the one that it has told longest ago goes first. */
  readonly maxTold: number;
  /** Who is to find something out and makes no progress this long is to no longer. */
  readonly stallMs: number;
  /** Nor is who makes less progress than this, after a minute. */
  readonly bytesPerSecond: number;
}

export const NAMES_DEFAULTS: NamesOptions = {
  maxNames: 10_000,
  maxAsked: 256,
  maxTold: 1024,
  stallMs: 10_000,
  bytesPerSecond: 64 * 1024,
};

const HEAD_START_MS = 60_000;

interface Entry {
  meaning: NameMeaning | undefined;
  /** Who has said what it means. */
  teller: PeerId | undefined;
  /** The least that anybody who asked has said: who says more could find it out for ever. */
  sizeBytes: number;
  /** Who asks, in the order in which they came; the finder among them. */
  readonly askers: Set<PeerId>;
  finder: Finder | undefined;
}

interface Finder {
  readonly peer: PeerId;
  readonly sinceMs: number;
  readBytes: number;
  progressAtMs: number;
}

/**
 * What content a name means, and who finds that out where nobody knows. As {@link Swarm} without clock, sockets or disk, and as soft: hosts
 * ask again when they come back. Nothing here is proven: who is told what a name means has no more than another host's word for it.
 */
export class Names {
  readonly #options: NamesOptions;
  /** The one that was of interest longest ago first. */
  readonly #entries = new Map<Digest, Entry>();
  readonly #askedBy = new Map<PeerId, Set<Digest>>();
  /** Of names that are known; also of hosts that are gone, as what they have told stays. */
  readonly #toldBy = new Map<PeerId, Set<Digest>>();

  constructor(options: Partial<NamesOptions> = {}) {
    this.#options = { ...NAMES_DEFAULTS, ...options };
  }

  get size(): number {
    return this.#entries.size;
  }

  ask(peer: PeerId, key: Digest, sizeBytes: number, nowMs: number): NameAnswer[] {
    const entry = this.#entries.get(key) ?? newEntry();
    if (entry.meaning !== undefined) {
      this.#touch(key, entry);
      return [{ to: peer, key, meaning: entry.meaning }];
    }
    const asked = this.#askedBy.get(peer) ?? new Set<Digest>();
    // Who asks for too much finds out by itself.
    if (!asked.has(key) && asked.size >= this.#options.maxAsked) return [{ to: peer, key, meaning: 'yours' }];
    const lost = this.#touch(key, entry);
    this.#askedBy.set(peer, asked.add(key));
    entry.askers.add(peer);
    entry.sizeBytes = Math.min(entry.sizeBytes, sizeBytes);
    entry.finder ??= finderOf(peer, nowMs);
    const meaning = entry.finder.peer === peer ? 'yours' : 'wait';
    return [...lost, { to: peer, key, meaning }];
  }

  /** Somebody has found out. Two who disagree are neither believed. */
  tell(peer: PeerId, key: Digest, meaning: NameMeaning): NameAnswer[] {
    const entry = this.#entries.get(key) ?? newEntry();
    if (entry.meaning !== undefined) {
      const isSame = entry.meaning.digest === meaning.digest && entry.meaning.sizeBytes === meaning.sizeBytes;
      if (!isSame) this.#drop(key, entry);
      return [];
    }
    const waiting = [...entry.askers].filter((asker) => asker !== peer);
    for (const asker of entry.askers) this.#forget(asker, key);
    entry.askers.clear();
    entry.finder = undefined;
    entry.meaning = meaning;
    entry.teller = peer;
    this.#keepTold(peer, key);
    const lost = this.#touch(key, entry);
    return [...lost, ...waiting.map((to) => ({ to, key, meaning }))];
  }

  progress(peer: PeerId, key: Digest, readBytes: number, nowMs: number): void {
    const { finder, sizeBytes = 0 } = this.#entries.get(key) ?? {};
    // Nobody makes progress for ever.
    if (finder?.peer !== peer || readBytes <= finder.readBytes || finder.readBytes >= sizeBytes) return;
    finder.readBytes = readBytes;
    finder.progressAtMs = nowMs;
  }

  giveUp(peer: PeerId, key: Digest, nowMs: number): NameAnswer[] {
    const entry = this.#entries.get(key);
    if (entry?.askers.has(peer) !== true) return [];
    this.#forget(peer, key);
    entry.askers.delete(peer);
    return entry.finder?.peer === peer ? this.#next(key, entry, nowMs) : [];
  }

  /** A host is gone. */
  leave(peer: PeerId, nowMs: number): NameAnswer[] {
    return [...(this.#askedBy.get(peer) ?? [])].flatMap((key) => this.giveUp(peer, key, nowMs));
  }

  /** Lets others find out what somebody does not get on with. */
  expire(nowMs: number): NameAnswer[] {
    const { stallMs, bytesPerSecond } = this.#options;
    return [...this.#entries].flatMap(([key, entry]) => {
      const { finder, sizeBytes } = entry;
      if (finder === undefined) return [];
      const allowedMs = HEAD_START_MS + (sizeBytes / bytesPerSecond) * 1000;
      if (nowMs - finder.progressAtMs < stallMs && nowMs - finder.sinceMs < allowedMs) return [];
      // It may still come to know, and then tells; but nobody waits for it any more.
      return this.giveUp(finder.peer, key, nowMs);
    });
  }

  #next(key: Digest, entry: Entry, nowMs: number): NameAnswer[] {
    const [next] = entry.askers;
    if (next === undefined) {
      this.#entries.delete(key);
      return [];
    }
    entry.finder = finderOf(next, nowMs);
    return [{ to: next, key, meaning: 'yours' }];
  }

  /** Who asked for what is dropped here is not kept waiting. */
  #touch(key: Digest, entry: Entry): NameAnswer[] {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= this.#options.maxNames) return [];
    const [[oldest, dropped] = []] = this.#entries;
    if (oldest === undefined || dropped === undefined) return [];
    this.#drop(oldest, dropped);
    return [...dropped.askers].map((to) => {
      this.#forget(to, oldest);
      return { to, key: oldest, meaning: 'yours' as const };
    });
  }

  #keepTold(peer: PeerId, key: Digest): void {
    const told = this.#toldBy.get(peer) ?? new Set<Digest>();
    this.#toldBy.set(peer, told.add(key));
    if (told.size <= this.#options.maxTold) return;
    const [oldest] = told;
    const dropped = oldest === undefined ? undefined : this.#entries.get(oldest);
    if (oldest !== undefined && dropped !== undefined) this.#drop(oldest, dropped);
  }

  #drop(key: Digest, { teller }: Entry): void {
    this.#entries.delete(key);
    if (teller !== undefined) remove(this.#toldBy, teller, key);
  }

  #forget(peer: PeerId, key: Digest): void {
    remove(this.#askedBy, peer, key);
  }
}

function newEntry(): Entry {
  return {
    meaning: undefined,
    teller: undefined,
    sizeBytes: Number.POSITIVE_INFINITY,
    askers: new Set(),
    finder: undefined,
  };
}

function remove(keysOf: Map<PeerId, Set<Digest>>, peer: PeerId, key: Digest): void {
  const keys = keysOf.get(peer);
  keys?.delete(key);
  if (keys?.size === 0) keysOf.delete(peer);
}

function finderOf(peer: PeerId, nowMs: number): Finder {
  return { peer, sinceMs: nowMs, readBytes: 0, progressAtMs: nowMs };
}
