import { chmod, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, ListenOptions } from 'node:net';
import { join } from 'node:path';
import { DrakkarError, formatHostPort } from '@drakkar/protocol';
import { cannotListen, isAnswered } from '@drakkar/service';
import { reachable } from '@drakkar/wire';
import type { Logger } from 'pino';
import { ownCertificate, readCertificate, type ServerCertificate } from './certificate.ts';
import type { ApiModules } from './modules.ts';
import type { ApiHandler } from './origin.ts';
import { CertificateRenewal } from './renewal.ts';
import { createApi } from './server.ts';

export interface ServeApiOptions {
  readonly address: string;
  readonly port: number;
  readonly tls: 'auto' | 'off' | 'own' | { readonly certificateFile: string; readonly keyFile: string };
  /** Where its own certificate is kept. */
  readonly keys: string;
  /** The unix socket on which root may do everything. */
  readonly socketPath: string;
  /** How often it is looked whether there is another certificate. */
  readonly certificateEveryMs?: number;
  /** How long a request may take to arrive, with its body. */
  readonly requestMs?: number;
}

export interface ServeApiModules {
  readonly handler: ApiHandler;
  /** Told before the first request, and when the certificate is another one. */
  onPlace(place: ApiPlace): void;
  readonly log: Logger;
}

export interface ApiPlace {
  readonly url: string;
  /** Of its certificate's public key; `null` without TLS. */
  readonly pin: string | null;
}

const REQUEST_MS = 30_000;
const HEADERS_MS = 10_000;
/** How often it is looked which requests are late. */
const LATE_EVERY_MS = 1_000;
const KEEP_ALIVE_MS = 72_000;
const CERTIFICATE_EVERY_MS = 10_000;

/**
 * Listens on TCP for those with a token, and on a unix socket for root.
 *
 * @throws `busy` where another supernode has the socket or the port; `invalid_argument` for a certificate that is none
 */
export async function serveApi(
  options: ServeApiOptions,
  { handler, onPlace, log }: ServeApiModules,
): Promise<AsyncDisposable> {
  const { address, port, socketPath } = options;
  await using stack = new AsyncDisposableStack();
  const read = certificateReader(options);
  const certificate = await read?.();
  const open: RequestListener = (request, response) => {
    handler(request, response, { isLocal: false, address: request.socket.remoteAddress ?? '' });
  };
  const limits = limitsOf(options);
  const tlsServer = certificate && createTlsServer({ ...certificate, ...limits }, open);
  const server = tlsServer ?? createServer(limits, open);
  try {
    stack.use(await listenOn(server, { host: address, port }));
  } catch (cause) {
    const instead = 'set api.port to a free port';
    throw cannotListen(cause, { address, port, what: 'the API', settings: 'api', instead });
  }
  const { port: listening } = server.address() as AddressInfo;
  const scheme = certificate === undefined ? 'http' : 'https';
  const url = `${scheme}://${formatHostPort({ host: reachable(address), port: listening })}`;
  onPlace({ url, pin: certificate?.pin ?? null });
  if (read !== undefined && certificate !== undefined && tlsServer !== undefined) {
    const onChange = ({ pin }: ServerCertificate) => onPlace({ url, pin });
    const everyMs = options.certificateEveryMs ?? CERTIFICATE_EVERY_MS;
    stack.use(new CertificateRenewal(certificate, everyMs, { server: tlsServer, read, onChange, log }));
  }
  const local = createServer(limits, (request, response) =>
    handler(request, response, { isLocal: true, address: '' }),
  );
  if (await isAnswered(socketPath)) {
    throw new DrakkarError('busy', `another supernode already answers at ${socketPath}`, {
      hint: 'stop it first, or give this one a state directory of its own',
    });
  }
  await rm(socketPath, { force: true });
  stack.use(await listenOn(local, { path: socketPath }));
  await chmod(socketPath, 0o600);
  return stack.move();
}

/** What the API is, in OpenAPI 3.1. */
export async function openApi(): Promise<object> {
  const modules = {} as ApiModules;
  const options = { isSecure: false, anonymousViewers: false, requestsPerMinute: 1, onDefect: () => {} };
  await using api = await createApi(modules, options);
  return api.swagger();
}

/** Gives the certificate as it is to be at any time; nothing where there is to be none. */
function certificateReader({
  tls,
  address,
  keys,
}: ServeApiOptions): (() => Promise<ServerCertificate>) | undefined {
  if (typeof tls === 'object') return () => readCertificate(tls.certificateFile, tls.keyFile);
  const isLoopback = /^(127\.|::1$|localhost$)/.test(address);
  if (tls === 'off' || (tls === 'auto' && isLoopback)) return undefined;
  return () => ownCertificate(join(keys, 'api'), address);
}

/** Given to a server that is made already, times are looked at every 30 s, and the longer of the two is the whole request's. */
function limitsOf({ requestMs = REQUEST_MS }: ServeApiOptions): ServerOptions {
  return {
    requestTimeout: requestMs,
    headersTimeout: Math.min(HEADERS_MS, requestMs),
    connectionsCheckingInterval: Math.min(LATE_EVERY_MS, requestMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
  };
}

async function listenOn(server: Server, options: ListenOptions): Promise<AsyncDisposable> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(options, resolve);
  await promise;
  server.off('error', reject);
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
