/** What every object of the API server has. Source: Kubernetes API conventions, “Objects”. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
}

export interface ClusterObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** Whether its makers want of it what they wanted before: what else has changed is its status, or what others have noted. */
export function isSameWish(now: ClusterObject | undefined, before: ClusterObject | undefined): boolean {
  const [one, other] = [now?.metadata, before?.metadata];
  return (
    one?.uid === other?.uid &&
    one?.generation === other?.generation &&
    one?.deletionTimestamp === other?.deletionTimestamp
  );
}

/**
 * Whether the first was written before the second; one that there is not was before all.
 * Source: Kubernetes, API concepts, “Resource versions”: those of one kind are numbers that grow.
 */
export function isOlder(one: ClusterObject | undefined, other: ClusterObject | undefined): boolean {
  return versionOf(one) < versionOf(other);
}

const versionOf = (object: ClusterObject | undefined): bigint =>
  BigInt(object?.metadata.resourceVersion ?? 0);

/** Where objects of one kind are, as `/api/v1/nodes` or `/apis/drakkar.dev/v1alpha1/imagesnapshots`. */
export type ResourcePath = `/api/${string}` | `/apis/${string}`;

export interface ObjectList<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[];
}

export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: ClusterObject }
  | { readonly type: 'ERROR'; readonly object: Status };

/** What the API server says instead of an answer. */
export interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly retryAfterSeconds?: number };
}

export interface Call {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** Of the body; `application/json` when absent. */
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

export interface WatchCall extends Call {
  /** Told when the server has begun to answer. */
  opened?(): void;
}

/** The API server, as far as it is asked here. Every call may throw {@link StatusError}. */
export interface ApiServer {
  request<T>(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, call?: Call): Promise<T>;
  /** Ends when the server ends it. */
  watch(path: string, call?: WatchCall): AsyncIterable<WatchEvent>;
}

/** The API server has not done what it was asked, or can't be reached. */
export class StatusError extends Error {
  /** As HTTP has it; 0 where nothing was answered. */
  readonly code: number;
  /** A word for programs, as `NotFound`, `Conflict` or `Expired`. */
  readonly reason: string;
  /** It wants to be left alone for so long. */
  readonly retryAfterMs: number | undefined;

  constructor(
    { code = 0, reason = '', message = 'the API server has given no reason', details }: Status,
    options?: ErrorOptions & { readonly retryAfterMs?: number | undefined },
  ) {
    super(message, options);
    this.name = 'StatusError';
    this.code = code;
    this.reason = reason;
    const seconds = details?.retryAfterSeconds;
    this.retryAfterMs = options?.retryAfterMs ?? (seconds === undefined ? undefined : seconds * 1_000);
  }

  /** It was not even begun: the server has too much to do, or is about to end. */
  get isPutOff(): boolean {
    return (this.code === 429 || this.code === 503) && this.retryAfterMs !== undefined;
  }

  /** What was to be read has been forgotten: all is to be listed again. */
  get isGone(): boolean {
    return this.code === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }
}

export const isNotFound = (error: unknown): boolean => error instanceof StatusError && error.code === 404;
/** Somebody else has changed it, or has made it first. */
export const isConflict = (error: unknown): boolean => error instanceof StatusError && error.code === 409;
