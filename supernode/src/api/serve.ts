import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { formatHostPort } from '@drakkar/protocol';
import { cannotListen, listenOnSocket } from '@drakkar/service';
import { reachable } from '@drakkar/wire';
import type { Logger } from 'pino';
import { ownCertificate, readCertificate, type ServerCertificate } from './certificate.ts';
import type { ApiModules } from './modules.ts';
import { type ApiServer, type ApiServerOptions, createApi } from './server.ts';
import type { Caller } from './tokens.ts';

export interface ServeApiOptions {
  readonly address: string;
  readonly port: number;
  readonly tls: 'auto' | 'off' | 'own' | { readonly certificateFile: string; readonly keyFile: string };
  /** Whoever has no token may look. */
  readonly anonymousViewers: boolean;
  readonly requestsPerMinute: number;
  /** Where its own certificate is kept. */
  readonly keys: string;
  /** The unix socket on which root may do everything. */
  readonly socketPath: string;
  /** Told once, before the first request. */
  onListening(place: ApiPlace): void;
}

export interface ApiPlace {
  readonly url: string;
  /** Of its certificate's public key; `null` without TLS. */
  readonly pin: string | null;
}

const LOCAL: Caller = { name: 'local', role: 'admin', token: null };
const ANYBODY: Caller = { name: 'anybody', role: 'viewer', token: null };
/** On the socket nobody is slowed down. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;

/**
 * Serves the API on TCP for those with a token, and on a unix socket for root.
 *
 * @throws `busy` where another supernode has the socket or the port; `invalid_argument` for a certificate that is none
 */
export async function serveApi(
  modules: ApiModules,
  options: ServeApiOptions,
  log: Logger,
): Promise<AsyncDisposable> {
  const { address, port, socketPath, requestsPerMinute, anonymousViewers, onListening } = options;
  await using stack = new AsyncDisposableStack();
  const onDefect: ApiServerOptions['onDefect'] = (error, { method, routeOptions }) =>
    log.error({ error, method, route: routeOptions.url }, 'a request failed');
  const certificate = await certificateOf(options);
  const api = await createApi(modules, {
    everybody: anonymousViewers ? ANYBODY : null,
    requestsPerMinute,
    onDefect,
    https: certificate,
  });
  stack.defer(() => api.close());
  const listening = await listenOn(api, address, port);
  const scheme = certificate === undefined ? 'http' : 'https';
  const url = `${scheme}://${formatHostPort({ host: reachable(address), port: listening })}`;
  const pin = certificate?.pin ?? null;
  // Before anybody can ask where that is.
  onListening({ url, pin });
  const local = await createApi(modules, { everybody: LOCAL, requestsPerMinute: UNLIMITED, onDefect });
  stack.use(await listenOnSocket(local, socketPath, 'supernode'));
  return stack.move();
}

/** What the API is, in OpenAPI 3.1. */
export async function openApi(): Promise<object> {
  const modules = {} as ApiModules;
  await using api = await createApi(modules, {
    everybody: LOCAL,
    requestsPerMinute: UNLIMITED,
    onDefect: () => {},
  });
  return api.swagger();
}

async function certificateOf({
  tls,
  address,
  keys,
}: ServeApiOptions): Promise<ServerCertificate | undefined> {
  if (typeof tls === 'object') return await readCertificate(tls.certificateFile, tls.keyFile);
  const isLoopback = /^(127\.|::1$|localhost$)/.test(address);
  if (tls === 'off' || (tls === 'auto' && isLoopback)) return undefined;
  return await ownCertificate(join(keys, 'api'), address);
}

async function listenOn(api: ApiServer, address: string, port: number): Promise<number> {
  try {
    await api.listen({ host: address, port });
    return (api.server.address() as AddressInfo).port;
  } catch (cause) {
    const instead = 'set api.port to a free port';
    throw cannotListen(cause, { address, port, what: 'the API', settings: 'api', instead });
  }
}
