import { type HeartbeatMessage, isPeerId, type PeerId } from '@drakkar/protocol';

/** What one host moves. */
interface HostTraffic {
  upstreamBytes: number;
  receivedBytes: number;
  sentBytes: number;
  atMs: number;
  rates: Rates;
}

export interface Rates {
  readonly upstreamBytesPerSecond: number;
  readonly receivedBytesPerSecond: number;
  readonly sentBytesPerSecond: number;
}

export interface Feed {
  readonly from: PeerId;
  readonly to: PeerId;
  readonly bytesPerSecond: number;
}

/** All hosts together, at one time. */
export interface TrafficPoint {
  readonly atMs: number;
  readonly upstreamBytesPerSecond: number;
  readonly peerBytesPerSecond: number;
}

export interface StartSeen {
  readonly atMs: number;
  readonly peer: PeerId;
  readonly host: string;
  readonly image: string;
  readonly found: string;
  readonly totalMs: number;
}

const NO_RATES: Rates = { upstreamBytesPerSecond: 0, receivedBytesPerSecond: 0, sentBytesPerSecond: 0 };
const MAX_POINTS = 120;
const MAX_FEEDS_OF_HOST = 16;
const MAX_RECENT = 50;
/** Of which quantiles are made. */
const MAX_TIMES = 2_000;
const MAX_STARTS_OF_BEAT = 64;
const MAX_IMAGE = 1_024;
/** Hosts may say anything; what is more than a pebibyte is no less wrong as one. */
const MAX_FIGURE = 2n ** 50n;
/** Upper ends, in milliseconds; what is longer comes last. */
export const START_BUCKETS_MS: readonly number[] = [
  25, 50, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 5_000, 10_000, 30_000,
];

/** What hosts say that they move, and how fast their containers start: for people to look at. Nothing here is proven, or needed. */
export class Traffic {
  /** Since this supernode began, of all hosts. */
  upstreamBytes = 0;
  peerBytes = 0;
  readonly #hosts = new Map<PeerId, HostTraffic>();
  readonly #feeds = new Map<PeerId, readonly Omit<Feed, 'to'>[]>();
  readonly #buckets: number[] = [...START_BUCKETS_MS, Number.POSITIVE_INFINITY].map(() => 0);
  #points: TrafficPoint[] = [];
  #times: number[] = [];
  #recent: StartSeen[] = [];

  /** @param nowMs of a clock that goes on evenly; `wallMs` of the one on the wall */
  beat(peer: PeerId, host: string, heartbeat: HeartbeatMessage, nowMs: number, wallMs: number): void {
    const before = this.#hosts.get(peer);
    const upstreamBytes = figureOf(heartbeat.upstreamBytes);
    const receivedBytes = figureOf(heartbeat.receivedBytes);
    const sentBytes = figureOf(heartbeat.sentBytes);
    // A daemon that began anew counts from nothing.
    const isSame =
      before !== undefined && before.upstreamBytes <= upstreamBytes && before.receivedBytes <= receivedBytes;
    const seconds = isSame ? Math.max(0.1, (nowMs - before.atMs) / 1000) : 1;
    const rates = isSame
      ? {
          upstreamBytesPerSecond: (upstreamBytes - before.upstreamBytes) / seconds,
          receivedBytesPerSecond: (receivedBytes - before.receivedBytes) / seconds,
          sentBytesPerSecond: Math.max(0, sentBytes - before.sentBytes) / seconds,
        }
      : NO_RATES;
    if (isSame) {
      this.upstreamBytes = sumOf(this.upstreamBytes, upstreamBytes - before.upstreamBytes);
      this.peerBytes = sumOf(this.peerBytes, receivedBytes - before.receivedBytes);
    }
    this.#hosts.set(peer, { upstreamBytes, receivedBytes, sentBytes, atMs: nowMs, rates });
    const feeds = heartbeat.feeds
      .slice(0, MAX_FEEDS_OF_HOST)
      .flatMap(({ peer: from, bytes }) =>
        isPeerId(from) ? [{ from, bytesPerSecond: figureOf(bytes) / seconds }] : [],
      );
    if (feeds.length > 0) this.#feeds.set(peer, feeds);
    else this.#feeds.delete(peer);
    for (const { image, found, totalMs } of heartbeat.starts.slice(0, MAX_STARTS_OF_BEAT))
      this.#start({
        atMs: wallMs,
        peer,
        host,
        image: image.slice(0, MAX_IMAGE),
        found: found.slice(0, 20),
        totalMs,
      });
  }

  left(peer: PeerId): void {
    this.#hosts.delete(peer);
    this.#feeds.delete(peer);
  }

  ratesOf(peer: PeerId): Rates {
    return this.#hosts.get(peer)?.rates ?? NO_RATES;
  }

  /** One more point of the history. */
  sample(wallMs: number): TrafficPoint {
    let [upstreamBytesPerSecond, peerBytesPerSecond] = [0, 0];
    for (const { rates } of this.#hosts.values()) {
      upstreamBytesPerSecond = sumOf(upstreamBytesPerSecond, rates.upstreamBytesPerSecond);
      peerBytesPerSecond = sumOf(peerBytesPerSecond, rates.receivedBytesPerSecond);
    }
    const point = { atMs: wallMs, upstreamBytesPerSecond, peerBytesPerSecond };
    this.#points = [...this.#points.slice(1 - MAX_POINTS), point];
    return point;
  }

  get history(): readonly TrafficPoint[] {
    return this.#points;
  }

  /** The largest, at most so many. */
  feeds(most: number): Feed[] {
    const all = [...this.#feeds].flatMap(([to, feeds]) => feeds.map((feed) => ({ ...feed, to })));
    return all.sort((one, other) => other.bytesPerSecond - one.bytesPerSecond).slice(0, most);
  }

  /** How long it took until root file systems were ready. */
  starts() {
    const sorted = [...this.#times].sort((one, other) => one - other);
    const quantile = (share: number) =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
    return {
      count: this.#buckets.reduce((sum, count) => sum + count, 0),
      p50Ms: quantile(0.5),
      p90Ms: quantile(0.9),
      p99Ms: quantile(0.99),
      buckets: this.#buckets.map((count, index) => ({ toMs: START_BUCKETS_MS[index] ?? null, count })),
      recent: this.#recent,
    };
  }

  #start(start: StartSeen): void {
    const bucket = START_BUCKETS_MS.findIndex((toMs) => start.totalMs <= toMs);
    const index = bucket < 0 ? START_BUCKETS_MS.length : bucket;
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#times.push(start.totalMs);
    if (this.#times.length > 2 * MAX_TIMES) this.#times = this.#times.slice(-MAX_TIMES);
    this.#recent = [start, ...this.#recent.slice(0, MAX_RECENT - 1)];
  }
}

const figureOf = (value: bigint): number => Number(value < MAX_FIGURE ? value : MAX_FIGURE);

const sumOf = (one: number, other: number): number => Math.min(Number.MAX_SAFE_INTEGER, one + other);
