/** A document: text under a key. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Grows with every commit; the same for all that were changed together. */
  readonly revision: number;
}

export interface Change {
  readonly key: string;
  /** `null` takes it away. */
  readonly value: string | null;
  /** The revision that it must have for anything of the commit to happen; {@link ABSENT} where it must not be there. */
  readonly expects?: number | undefined;
  /** It goes by itself after so long. */
  readonly ttlMs?: number | undefined;
}

/** What must be as it was for anything of a commit to happen, and stays. */
export interface Check {
  readonly key: string;
  readonly expects: number;
}

/** What {@link Change.expects} says of a key that must not be there. */
export const ABSENT = 0;

export interface ListOptions {
  /** Only what comes after this key. */
  readonly after?: string | undefined;
  readonly limit: number;
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined;
}

/** What keys may have changed; `null` where anything may have, as after a time without a connection. */
export type ChangedKeys = readonly string[] | null;

/**
 * What supernodes must not forget: documents under ordered keys, changed together or not at all, by one supernode or by several at the same
 * time. Every method may throw `unavailable`; a commit that did may have happened.
 */
export interface StateStore extends AsyncDisposable {
  get(key: string): Promise<Entry | undefined>;
  /** What is under keys with this prefix, in the order of their bytes. */
  list(prefix: string, options: ListOptions): Promise<Entry[]>;
  /** All or nothing. @returns the revision, or `undefined` where something was not as expected. @throws `invalid_argument` beyond {@link STATE_LIMITS} */
  commit(changes: readonly Change[], checks?: readonly Check[]): Promise<number | undefined>;
  /** Tells of changes under keys with this prefix soon after they happened, whoever made them; also of what went by itself. */
  watch(prefix: string, listener: (keys: ChangedKeys) => void): Disposable;
}

export const STATE_LIMITS = {
  keyBytes: 512,
  valueBytes: 4 * 1024 * 1024,
  /** Of one commit. */
  changes: 1_000,
  /** Of one list. */
  entries: 1_000,
};

/** What goes by itself is looked for this often. */
export const SWEEP_MS = 1_000;
