import type { PeerId } from '@drakkar/protocol';

/** A root file system that was made ready. */
export interface ReadyStart {
  readonly image: string;
  readonly found: 'here' | 'cluster' | 'registry' | 'built';
  /** From when it was asked for. */
  readonly totalMs: number;
}

/** Of one heartbeat; what is beyond is counted in the totals alone. */
const MAX_FEEDS = 16;
const MAX_STARTS = 64;

/** What a host says of itself with each heartbeat. */
export class HostFigures {
  /** To and from other hosts, since the start. */
  sentBytes = 0;
  receivedBytes = 0;
  /** From registries and web servers, since the start. */
  upstreamBytes: () => number = () => 0;
  readonly #feeds = new Map<PeerId, number>();
  #starts: ReadyStart[] = [];

  received(peer: PeerId, bytes: number): void {
    this.receivedBytes += bytes;
    this.#feeds.set(peer, (this.#feeds.get(peer) ?? 0) + bytes);
  }

  started(start: ReadyStart): void {
    if (this.#starts.length < MAX_STARTS) this.#starts.push(start);
  }

  /** What is to be said now; feeds and starts are said once. */
  beat(uploads: number) {
    const feeds = [...this.#feeds]
      .sort(([, one], [, other]) => other - one)
      .slice(0, MAX_FEEDS)
      .map(([peer, bytes]) => ({ peer, bytes: BigInt(bytes) }));
    const starts = this.#starts.map((start) => ({ ...start, totalMs: Math.round(start.totalMs) }));
    this.#feeds.clear();
    this.#starts = [];
    return {
      uploads,
      upstreamBytes: BigInt(this.upstreamBytes()),
      receivedBytes: BigInt(this.receivedBytes),
      sentBytes: BigInt(this.sentBytes),
      feeds,
      starts,
    };
  }
}
