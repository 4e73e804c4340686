import { isPeerId, type PeerId, parseSupernodeAddress } from '@drakkar/protocol';
import { accepts } from '@drakkar/service';
import { z } from 'zod';

export const replicaSchema = z.object({
  peer: z.custom<PeerId>(isPeerId),
  /** `host:port/PEER` */
  address: z.string().max(512).refine(accepts(parseSupernodeAddress)),
  version: z.string().max(100),
  startedAtMs: z.number(),
  /** Blobs and names may be its own. */
  serving: z.boolean(),
  /** That are connected to it. */
  hosts: z.int().min(0),
});

/** One of several supernodes, as it says of itself. */
export type Replica = z.output<typeof replicaSchema>;

/** One that has begun takes its part once so much of the hosts are there that are with another. */
const ENOUGH_HOSTS = 0.9;
/** Or after so long, however few there are. */
const LONG_ENOUGH_MS = 2 * 60_000;

/**
 * Who is there, from what was read of everybody's leases. Pure: where nothing can be read, nobody is taken for gone, nor for a while after that, until all
 * have had the time to say that they are there.
 */
export class Roster {
  readonly #leaseMs: number;
  #replicas: ReadonlyMap<PeerId, Replica> = new Map();
  #isBlind = false;
  #sureAtMs = Number.NEGATIVE_INFINITY;

  /** @param leaseMs after which who has not said so is no longer there */
  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** In the order of their peers. */
  list(): Replica[] {
    return [...this.#replicas.values()].sort((one, other) => (one.peer < other.peer ? -1 : 1));
  }

  get(peer: PeerId): Replica | undefined {
    return this.#replicas.get(peer);
  }

  /** Whether all that are there have had the time to say so. */
  isSure(nowMs: number): boolean {
    return !this.#isBlind && nowMs >= this.#sureAtMs;
  }

  failed(): void {
    this.#isBlind = true;
  }

  /** @returns whether somebody has come, gone or changed in what others are told of it */
  read(leases: readonly Replica[], nowMs: number): boolean {
    if (this.#isBlind) this.#sureAtMs = nowMs + this.#leaseMs;
    this.#isBlind = false;
    const before = this.#replicas;
    const kept = this.isSure(nowMs) ? [] : [...before];
    this.#replicas = new Map([...kept, ...leases.map((replica) => [replica.peer, replica] as const)]);
    return told(before) !== told(this.#replicas);
  }
}

/** Whether one that has begun may take its part: before its hosts are there, the others do better without it. */
export function mayServe(self: Replica, others: readonly Replica[], nowMs: number): boolean {
  const most = Math.max(0, ...others.filter(({ serving }) => serving).map(({ hosts }) => hosts));
  return self.serving || self.hosts >= most * ENOUGH_HOSTS || nowMs - self.startedAtMs >= LONG_ENOUGH_MS;
}

const told = (replicas: ReadonlyMap<PeerId, Replica>): string =>
  [...replicas.values()]
    .map(({ address, serving }) => `${address} ${serving}`)
    .sort()
    .join();
