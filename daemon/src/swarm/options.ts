export interface SwarmLimits {
  /** Requests of peers that are served at the same time; as many more wait. */
  readonly uploadSlots: number;
  /** Bytes per second; `null` is no limit. */
  readonly uploadRate: number | null;
  readonly downloadRate: number | null;
  /** Bytes that have been asked of peers and are not on the disk yet. */
  readonly inFlightBytes: number;
  /** Where the process needs more memory than this, it asks for little at a time. */
  readonly memoryBytes: number;
}

export const SWARM_PEER_DEFAULTS = {
  address: '0.0.0.0',
  controlPort: 4402,
  dataPort: 4403,
  mdns: true,
  limits: {
    uploadSlots: 8,
    uploadRate: null,
    downloadRate: null,
    inFlightBytes: 64 * 1024 * 1024,
    memoryBytes: 512 * 1024 * 1024,
  },
} as const;

/** How a host deals with others about one blob. */
export const EXCHANGE_DEFAULTS = {
  /** Streams at a time. */
  sessions: 64,
  /** Pieces that one child may be shown before any of them has been passed on. */
  shownAhead: 4,
  /** Whether what is held back is of use is looked at this often. */
  releaseLookMs: 250,
  /** Without a piece for so long, whoever may read upstream is not believed in any more. */
  progressPatienceMs: 20_000,
  /** Of small pieces many come in a second; progress is told the supernode no more often than this. */
  haveIntervalMs: 500,
  originToldMs: 100,
  /** When to ask again whom nothing could be asked of. */
  retryMs: 50,
};
