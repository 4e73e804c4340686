import type { PeerId } from '@drakkar/protocol';
import type { HeartbeatInit } from './supernode-link.ts';
import type { Figures } from './supernodes.ts';

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

/** What one supernode has not been told yet. */
interface News {
  readonly feeds: Map<PeerId, number>;
  starts: ReadyStart[];
}

/** What a host says of itself with each heartbeat. */
export class HostFigures {
  /** To and from other hosts, since the start. */
  sentBytes = 0;
  receivedBytes = 0;
  /** From registries and web servers, since the start. */
  upstreamBytes: () => number = () => 0;
  readonly #listening = new Set<News>();

  received(peer: PeerId, bytes: number): void {
    this.receivedBytes += bytes;
    for (const { feeds } of this.#listening) feeds.set(peer, (feeds.get(peer) ?? 0) + bytes);
  }

  started(start: ReadyStart): void {
    for (const { starts } of this.#listening) if (starts.length < MAX_STARTS) starts.push(start);
  }

  /** For one who is told, from now on until it is disposed. @param uploads how many there are at the moment */
  listen(uploads: () => number): Figures {
    const news: News = { feeds: new Map(), starts: [] };
    this.#listening.add(news);
    return {
      beat: () => this.#beat(news, uploads()),
      [Symbol.dispose]: () => void this.#listening.delete(news),
    };
  }

  /** Feeds and starts are said once. */
  #beat(news: News, uploads: number): HeartbeatInit {
    const feeds = [...news.feeds]
      .sort(([, one], [, other]) => other - one)
      .slice(0, MAX_FEEDS)
      .map(([peer, bytes]) => ({ peer, bytes: BigInt(bytes) }));
    const starts = news.starts.map((start) => ({ ...start, totalMs: Math.round(start.totalMs) }));
    news.feeds.clear();
    news.starts = [];
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
