import type { RegistryCredential } from '@drakkar/protocol';

/** How registries are reached. Complete with {@link completeUpstreamOptions}; the defaults stand in {@link UPSTREAM_DEFAULTS}. */
export interface UpstreamOptions {
  /** Registries that may be read, as globs over `host[:port]` (`*` is any run of characters). */
  readonly allow: readonly string[];
  /** Registries (`host` or `host:port`, globs) that speak plain HTTP. `localhost`, `127.0.0.1` and `[::1]` always do. */
  readonly plainHttp: readonly string[];
  /** Hosts on private networks (`host` or `host:port`, globs) to which a public registry may redirect. */
  readonly allowPrivateRedirects: readonly string[];
  /** PEM files of certificate authorities that are trusted beside the system's. */
  readonly caFiles: readonly string[];
  /** By registry. They win over Docker's configuration. */
  readonly credentials: Readonly<Record<string, RegistryCredential>>;
  /** Docker's `config.json`, with its credential helpers; `null` to read none. A missing file is no error. */
  readonly dockerConfigFile: string | null;
  readonly credentialHelperTimeoutMs: number;
  /** Connections to one host, in use and kept alive. More requests wait for one. */
  readonly connectionsPerHost: number;
  /** Until the headers of an answer are here, connecting included. */
  readonly answerTimeoutMs: number;
  /** Without one byte of a body. */
  readonly idleTimeoutMs: number;
  /** A body that brings less than `minimumBytesPerSecond` during this time is given up. */
  readonly rateWindowMs: number;
  readonly minimumBytesPerSecond: number;
  /** Of all blobs together; `null` is no limit. */
  readonly bytesPerSecond: number | null;
  /** Of one request, or without progress of one body: the first counts. */
  readonly tries: number;
  /** Before the second try; doubled for each further one, with jitter, up to `backoffCapMs`. */
  readonly backoffMs: number;
  readonly backoffCapMs: number;
  /** A registry's `Retry-After` is honoured up to this. */
  readonly retryAfterCapMs: number;
  readonly redirects: number;
  /** Whether requests say to which trace they belong. */
  readonly tellsTrace: boolean;
}

export const UPSTREAM_DEFAULTS: UpstreamOptions = {
  allow: ['*'],
  plainHttp: [],
  allowPrivateRedirects: [],
  caFiles: [],
  credentials: {},
  dockerConfigFile: null,
  credentialHelperTimeoutMs: 10_000,
  connectionsPerHost: 8,
  answerTimeoutMs: 15_000,
  idleTimeoutMs: 20_000,
  rateWindowMs: 30_000,
  minimumBytesPerSecond: 1024,
  bytesPerSecond: null,
  tries: 4,
  backoffMs: 200,
  backoffCapMs: 10_000,
  retryAfterCapMs: 30_000,
  redirects: 10,
  tellsTrace: false,
};

export function completeUpstreamOptions(options: Partial<UpstreamOptions> = {}): UpstreamOptions {
  return { ...UPSTREAM_DEFAULTS, ...options };
}
