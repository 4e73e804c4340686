/** The mirror for containerd. */
export interface MirrorOptions {
  /** Keep it on loopback: callers are not authenticated by the mirror, only by the registries behind it. */
  readonly address: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Which registry is meant where containerd says no `ns=`: Docker's `registry-mirrors` never does and means Docker Hub. */
  readonly defaultRegistry: string;
  /** How long a tag is trusted before it is asked for again. */
  readonly tagTtlMs: number;
  /** How old the last known digest of a tag may be when the registry is away. */
  readonly tagMaxAgeMs: number;
  /** How long a registry's yes to "may this caller have it?" is good. */
  readonly verdictTtlMs: number;
  /** How long it stays good while the registry is away. */
  readonly verdictGraceMs: number;
  /** Verdicts remembered; the longest unused are forgotten. */
  readonly maxVerdicts: number;
  /**
   * Whether callers without credentials get what the daemon's own credentials open. Off: every process on the host reaches the
   * mirror, and would then have every image that the daemon may read.
   */
  readonly anonymousUsesDaemonCredentials: boolean;
  /**
   * Whether the daemon, where it has no credential of its own, may use what a caller has shown for a repository: for an hour, in memory only, to come by
   * the snapshot of an image that was pulled with a pod's secret, and its data.
   */
  readonly lendCredentials: boolean;
  /** Tries of a request to the registry on which a caller waits for headers. */
  readonly upstreamTries: number;
  readonly maxConnections: number;
  /** Until a caller has sent its headers. */
  readonly headersTimeoutMs: number;
  /** A caller that takes nothing of a body for this long is left. */
  readonly writeTimeoutMs: number;
}

export const MIRROR_DEFAULTS: MirrorOptions = {
  address: '127.0.0.1',
  port: 4001,
  defaultRegistry: 'docker.io',
  tagTtlMs: 30_000,
  tagMaxAgeMs: 24 * 3_600_000,
  verdictTtlMs: 60_000,
  verdictGraceMs: 3_600_000,
  maxVerdicts: 10_000,
  anonymousUsesDaemonCredentials: false,
  lendCredentials: true,
  upstreamTries: 2,
  maxConnections: 1024,
  headersTimeoutMs: 10_000,
  writeTimeoutMs: 120_000,
};
