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
