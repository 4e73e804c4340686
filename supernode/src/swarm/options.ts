import { LOCALITY_LABELS } from '@drakkar/protocol';

export interface SwarmOptions {
  /** Parents that a child is told of at a time. */
  readonly candidates: number;
  /** Hosts that may read one blob from upstream at the same time. */
  readonly origins: number;
  /** A host that may read so many blobs from upstream leaves a further one to others for a while. */
  readonly leasesAtOnce: number;
  /** For so long, times the leases that it has too many, */
  readonly leaseSpreadMs: number;
  /** and at most for so long. */
  readonly mostLeaseSpreadMs: number;
  /** A lease to read upstream ends without progress this long. */
  readonly originStallMs: number;
  /** Hosts send a heartbeat this often. */
  readonly heartbeatMs: number;
  /** A host that was not heard of this long is gone. Three heartbeats: one may be lost, and one be late. */
  readonly silenceMs: number;
  /** So many different hosts must have been sent wrong bytes by a peer before nobody is sent to it. */
  readonly reportsToQuarantine: number;
  readonly quarantineMs: number;
  /** A child is not sent again to a parent that gave it nothing for so long. */
  readonly uselessMs: number;
  /** Nor does it read upstream instead while others have something: not before it has gained nothing for so long. */
  readonly gainMs: number;
  /**
   * The same for who has gained something of another blob meanwhile: its link is busy, its turn will come. Less than a daemon waits before it
   * reads upstream unasked (20 s), and than {@link uselessMs}.
   */
  readonly busyGainMs: number;
  /** Labels that say where a host is, from the nearest to the farthest. */
  readonly localityLabels: readonly string[];
  /** Blobs that one host may want or have at a time. */
  readonly maxBlobsPerHost: number;
}

/** When the supernode turns to what has happened. */
export const TURNS = {
  /** What happens close together is answered together. */
  adviceMs: 10,
  expiryMs: 1_000,
};

export const SWARM_DEFAULTS: SwarmOptions = {
  candidates: 8,
  origins: 1,
  leasesAtOnce: 2,
  leaseSpreadMs: 200,
  mostLeaseSpreadMs: 1_000,
  originStallMs: 10_000,
  heartbeatMs: 4_000,
  silenceMs: 12_000,
  reportsToQuarantine: 2,
  quarantineMs: 10 * 60_000,
  uselessMs: 30_000,
  gainMs: 5_000,
  busyGainMs: 15_000,
  localityLabels: LOCALITY_LABELS,
  maxBlobsPerHost: 10_000,
};
