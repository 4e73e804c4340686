import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** What goes wrong with one request. Byte counts are of the body. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** The connection is cut after so many bytes. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Nothing more comes, and the connection stays. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  | { readonly kind: 'trickle'; readonly bytes: number; readonly everyMs: number }
  /** Not even headers. */
  | { readonly kind: 'silence' }
  /** A 200 with other bytes than the server's, if it has any; `headers` are added to its own. */
  | { readonly kind: 'body'; readonly bytes: Uint8Array; readonly headers?: Readonly<Record<string, string>> }
  /** The body without its length, in chunks. */
  | { readonly kind: 'chunked' };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** How many requests with this method and path came before. */
  readonly earlier: number;
}

export interface FaultyProxyOptions {
  /** Address to listen on: 127.0.0.1 unless another loopback address is wanted. */
  readonly address?: string;
  /** Serve HTTPS with this certificate and key in PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Decides what goes wrong; nothing when absent or when it returns nothing. */
  readonly fault?: (request: SeenRequest) => Fault | undefined;
}

/** A real HTTP hop before a real server, that counts and can break things. */
export interface FaultyProxy extends AsyncDisposable {
  readonly host: string;
  readonly url: string;
  /** May be exchanged at any time; counts for requests that come later. */
  fault: (request: SeenRequest) => Fault | undefined;
  /** Requests so far whose `METHOD /path` contains the text. */
  requests(containing: string): number;
  /** Body bytes sent to clients so far for paths that contain the text. */
  bytes(containing: string): number;
  /** Ends every open connection, and refuses new ones until {@link resume}. */
  interrupt(): void;
  resume(): void;
}

export async function startFaultyProxy(
  targetUrl: string,
  options: FaultyProxyOptions = {},
): Promise<FaultyProxy> {
  const seen = new Map<string, number>();
  const sent = new Map<string, number>();
  let interrupted = false;
  const sum = (map: Map<string, number>, text: string): number =>
    [...map].filter(([key]) => key.includes(text)).reduce((total, [, count]) => total + count, 0);
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const path = incoming.url ?? '/';
    const key = `${incoming.method} ${path}`;
    const earlier = seen.get(key) ?? 0;
    seen.set(key, earlier + 1);
    const count = (bytes: number) => sent.set(path, (sent.get(path) ?? 0) + bytes);
    const method = incoming.method ?? 'GET';
    const fault = proxy.fault({ method, path, headers: incoming.headers, earlier });
    forward(targetUrl, incoming, outgoing, fault, count);
  };
  const server = options.tls === undefined ? createServer(handle) : createTlsServer(options.tls, handle);
  server.on('connection', (socket) => {
    if (interrupted) socket.destroy();
  });
  const address = options.address ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, address, resolve);
  });
  const host = `${address}:${(server.address() as AddressInfo).port}`;
  const proxy: FaultyProxy = {
    host,
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    fault: options.fault ?? (() => undefined),
    requests: (text) => sum(seen, text),
    bytes: (text) => sum(sent, text),
    interrupt() {
      interrupted = true;
      server.closeAllConnections();
    },
    resume() {
      interrupted = false;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return proxy;
}

function forward(
  targetUrl: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
  count: (bytes: number) => void,
): void {
  if (fault?.kind === 'silence') return;
  if (fault?.kind === 'status') {
    outgoing.writeHead(fault.status, fault.headers).end();
    return;
  }
  const { method, headers } = incoming;
  const upstream = httpRequest(new URL(incoming.url ?? '/', targetUrl), { method, headers }, (answer) => {
    relay(answer, outgoing, fault, count);
  });
  upstream.on('error', () => outgoing.destroy());
  outgoing.on('close', () => upstream.destroy());
  incoming.pipe(upstream);
}

function relay(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
  count: (bytes: number) => void,
): void {
  const headers = { ...answer.headers };
  if (fault?.kind === 'chunked') delete headers['content-length'];
  if (fault?.kind === 'body') {
    answer.resume();
    Object.assign(headers, { 'content-length': String(fault.bytes.length) }, fault.headers);
    outgoing.writeHead(200, headers).end(fault.bytes);
    return;
  }
  outgoing.writeHead(answer.statusCode ?? 502, headers);
  answer.on('error', () => outgoing.destroy());
  if (fault?.kind === 'trickle') trickle(answer, outgoing, fault.bytes, fault.everyMs);
  else relayUntil(answer, outgoing, fault, count);
}

/** As {@link Fault} `cut` and `stall` say; whole without a fault. */
function relayUntil(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
  count: (bytes: number) => void,
): void {
  const limit =
    fault?.kind === 'cut' || fault?.kind === 'stall' ? fault.afterBytes : Number.POSITIVE_INFINITY;
  let passed = 0;
  if (limit === 0) {
    answer.resume();
    outgoing.flushHeaders();
    if (fault?.kind === 'cut') setImmediate(() => outgoing.destroy());
    return;
  }
  answer.on('data', (chunk: Buffer) => {
    if (passed >= limit) return;
    const part = chunk.subarray(0, limit - passed);
    passed += part.length;
    count(part.length);
    const flowing = outgoing.write(part, () => {
      if (passed >= limit && fault?.kind === 'cut') outgoing.destroy();
    });
    if (flowing || passed >= limit) return;
    answer.pause();
    outgoing.once('drain', () => answer.resume());
  });
  answer.on('end', () => {
    if (passed < limit) outgoing.end();
  });
}

function trickle(answer: IncomingMessage, outgoing: ServerResponse, bytes: number, everyMs: number): void {
  outgoing.flushHeaders();
  const timer = setInterval(() => {
    const chunk: Buffer | null = answer.read(bytes);
    if (chunk !== null) outgoing.write(chunk);
  }, everyMs);
  outgoing.on('close', () => clearInterval(timer));
}
