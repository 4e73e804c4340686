import type { Receipt } from '@drakkar/client';
import type { PeerId } from '@drakkar/protocol';

/** Hosts that a receipt names. What further ones give is counted all the same. */
const MAX_PEERS = 64;
/** Whoever waits for a pull notices a pause of this length. */
const STALL_MS = 2_000;

/** Where the bytes of one request come from and how they flow, added up by everything that works for it. */
export class ReceiptCounter {
  storeBytes = 0;
  upstreamBytes = 0;
  peerBytes = 0;
  joinedBytes = 0;
  discardedBytes = 0;
  readonly #peers = new Map<PeerId, { readonly name: string | null; bytes: number }>();
  readonly #whole: ReceiptCounter | undefined;
  readonly #now: () => number;
  readonly #startedMs: number;
  #firstByteMs: number | null = null;
  #arrivedAtMs = 0;
  #stalls = 0;

  /** @param now milliseconds of a clock that goes on evenly */
  constructor(now: () => number = () => performance.now(), whole?: ReceiptCounter) {
    this.#now = now;
    this.#whole = whole;
    this.#startedMs = now();
  }

  /** Counts the bytes of a part of the request, which count only when {@link add} says so; its pace is the whole's. */
  part(): ReceiptCounter {
    return new ReceiptCounter(this.#now, this);
  }

  fromStore(bytes: number): void {
    this.storeBytes += bytes;
    this.arrived();
  }

  fromUpstream(bytes: number): void {
    this.upstreamBytes += bytes;
    this.arrived();
  }

  fromPeer(peer: PeerId, name: string | null, bytes: number): void {
    this.peerBytes += bytes;
    this.#share(peer, name, bytes);
    this.arrived();
  }

  /** Bytes that another request of this host is told the source of. */
  joined(bytes: number): void {
    this.joinedBytes += bytes;
    this.arrived();
  }

  /** Bytes that came and are of no use. */
  discarded(bytes: number): void {
    this.discardedBytes += bytes;
  }

  /** Some bytes are here, wherever they are counted. */
  arrived(): void {
    if (this.#whole !== undefined) {
      this.#whole.arrived();
      return;
    }
    const nowMs = this.#now();
    if (this.#firstByteMs === null) this.#firstByteMs = nowMs - this.#startedMs;
    else if (nowMs - this.#arrivedAtMs >= STALL_MS) this.#stalls += 1;
    this.#arrivedAtMs = nowMs;
  }

  /** Somebody was asked for bytes and has not given them. */
  stalled(): void {
    if (this.#whole === undefined) this.#stalls += 1;
    else this.#whole.stalled();
  }

  add(part: ReceiptCounter): void {
    this.storeBytes += part.storeBytes;
    this.upstreamBytes += part.upstreamBytes;
    this.peerBytes += part.peerBytes;
    this.joinedBytes += part.joinedBytes;
    this.discardedBytes += part.discardedBytes;
    for (const [peer, { name, bytes }] of part.#peers) this.#share(peer, name, bytes);
  }

  /** What the part has brought was thrown away. */
  addDiscarded({ upstreamBytes, peerBytes, discardedBytes }: ReceiptCounter): void {
    this.discardedBytes += upstreamBytes + peerBytes + discardedBytes;
  }

  summary(): Receipt {
    const { storeBytes, upstreamBytes, peerBytes, joinedBytes, discardedBytes } = this;
    return {
      storeBytes,
      upstreamBytes,
      peerBytes,
      joinedBytes,
      discardedBytes,
      peers: [...this.#peers]
        .map(([peer, share]) => ({ peer, ...share }))
        .sort((one, other) => other.bytes - one.bytes),
      stalls: this.#stalls,
      firstByteMs: this.#firstByteMs,
    };
  }

  #share(peer: PeerId, name: string | null, bytes: number): void {
    const known = this.#peers.get(peer);
    if (known !== undefined) known.bytes += bytes;
    else if (this.#peers.size < MAX_PEERS) this.#peers.set(peer, { name, bytes });
  }
}

export const newReceipt = (): ReceiptCounter => new ReceiptCounter();

/** What has come since an earlier look at the same receipt. Pure. */
export function receivedSince(before: Receipt, now: Receipt): Receipt {
  return combined(now, before, -1);
}

/** What has come for two parts of one request. Pure. */
export function addReceipts(one: Receipt, other: Receipt): Receipt {
  return combined(one, other, 1);
}

function combined(one: Receipt, other: Receipt, sign: 1 | -1): Receipt {
  const peers = new Map(one.peers.map((share) => [share.peer, share]));
  for (const share of other.peers) {
    const bytes = (peers.get(share.peer)?.bytes ?? 0) + sign * share.bytes;
    peers.set(share.peer, { ...share, bytes });
  }
  return {
    storeBytes: one.storeBytes + sign * other.storeBytes,
    upstreamBytes: one.upstreamBytes + sign * other.upstreamBytes,
    peerBytes: one.peerBytes + sign * other.peerBytes,
    joinedBytes: one.joinedBytes + sign * other.joinedBytes,
    discardedBytes: one.discardedBytes + sign * other.discardedBytes,
    peers: [...peers.values()].filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes),
    stalls: one.stalls + sign * other.stalls,
    firstByteMs: one.firstByteMs ?? other.firstByteMs,
  };
}
