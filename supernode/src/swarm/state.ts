import type { BlobName, PeerId } from '@drakkar/protocol';

/** A host of the swarm, as it described itself and as it was last heard. */
export interface Host {
  readonly peer: PeerId;
  readonly name: string;
  /** `host:port` where it serves pieces. */
  readonly dataAddress: string;
  /** `host:port` of its control plane. */
  readonly controlAddresses: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly uploadSlots: number;
  readonly roles: readonly string[];
  /** Whether it does what it is given to do. */
  readonly doesTasks: boolean;
  /** Requests that it was serving at its last heartbeat. */
  uploads: number;
  heardAtMs: number;
  /** When it last had more of any blob than before. */
  gainedAtMs: number;
  /** Blobs that it may read from upstream at the moment. */
  leases: number;
}

/** What one host has to do with one blob. */
export interface Part {
  havePieces: number;
  /** Which 64ths are there; of those who have some and not all. */
  cells: bigint;
  wants: boolean;
  readonly sinceMs: number;
  /** A supernode of before has sent it to somebody who will come here, too. */
  isReturning: boolean;
  /** When it last had more than before. */
  gainedAtMs: number;
  /** Parents that it was last told of, and that are still there. */
  parents: readonly PeerId[];
  /** Parents that it was told of at any time: those it may have something to say about. */
  readonly named: Set<PeerId>;
  /** What it was told may hold no longer. */
  stale: boolean;
  /** Parents that gave it nothing, and until when it is not sent to them. */
  useless: Map<PeerId, number> | undefined;
  /** When it lost a lease to read upstream without having finished; 0 where it never did. */
  originLostAtMs: number;
}

/** A lease to read a blob from upstream. */
export interface Origin {
  bytes: number;
  progressAtMs: number;
}

export interface BlobSwarm {
  readonly name: BlobName;
  readonly sizeBytes: number;
  readonly pieces: number;
  readonly parts: Map<PeerId, Part>;
  readonly origins: Map<PeerId, Origin>;
  /** Children that may be told of more parents than they know. */
  readonly hungry: Set<PeerId>;
  /** By parent: whom it was named to. */
  readonly children: Map<PeerId, Set<PeerId>>;
}

export const isSeed = (swarm: BlobSwarm, part: Part): boolean => part.havePieces >= swarm.pieces;
