/** Where and how much the store keeps. */
export interface StoreOptions {
  /** The daemon's state directory; see docs/ARCHITECTURE.md for what lies in it. */
  readonly directory: string;
  /** Bytes of content and reservations together; never passed. */
  readonly quotaBytes: number;
  /** Files of complete content that are open for reading at the same time. */
  readonly maxOpenFiles: number;
  /** Milliseconds since 1970, for "last use". */
  readonly now: () => number;
}

export const STORE_DEFAULTS: Omit<StoreOptions, 'directory'> = {
  quotaBytes: 50 * 1024 ** 3,
  maxOpenFiles: 512,
  now: Date.now,
};
