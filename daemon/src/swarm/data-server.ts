import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  type BlobName,
  type Cut,
  type Digest,
  DrakkarError,
  isDigest,
  isOrigin,
  MAX_PIECE_BYTES,
  type PeerId,
  toDrakkarError,
} from '@drakkar/protocol';
import { currentSpan, listen, type Tracing } from '@drakkar/service';
import type { RateLimit } from '../rate-limit.ts';
import type { Log } from '../snapshots/modules.ts';
import { BufferPool } from './buffers.ts';
import { type PeerCertificate, peerOf } from './certificate.ts';
import { CIPHERS } from './piece-connection.ts';
import { Slots } from './slots.ts';
import type { Standing } from './standing.ts';

/** A blob of which this host has pieces. */
export interface OfferedBlob {
  readonly cut: Cut;
  has(piece: number): boolean;
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Counts what has been sent. */
  sent(peer: PeerId, bytes: number): void;
}

export interface DataServerOptions {
  readonly address: string;
  readonly port: number;
  readonly slots: number;
}

export interface DataServerModules {
  readonly certificate: PeerCertificate;
  readonly standing: Standing;
  readonly rate: RateLimit;
  readonly log: Pick<Log, 'debug'>;
  readonly tracing: Tracing;
  /** @returns `undefined` where this host has nothing of it */
  find(blob: BlobName): Promise<OfferedBlob | undefined>;
  /** Whether requests wait, when that changes. */
  pressed(isPressed: boolean): void;
}

export interface DataServer extends AsyncDisposable {
  readonly port: number;
  /** Requests that are being served. */
  readonly uploads: number;
}

const MAX_HEADER_BYTES = 8 * 1024;
const MAX_REQUEST_BYTES = MAX_PIECE_BYTES;
const MAX_CONNECTIONS = 2048;
/** So that nobody, known or not, keeps all others out. */
const CONNECTIONS_OF_ONE_ADDRESS = 256;
const HEADERS_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
/** Who takes less than this leaves its slot. */
const WRITE_MS = 15_000;
const MIN_BYTES_PER_SECOND = 128 * 1024;
const READ_BYTES = 512 * 1024;
const POOL = new BufferPool(READ_BYTES, 16);

/**
 * Gives pieces to peers: `GET /v1/blobs/{digest}/pieces/{first}-{last}?origin=REGISTRY[&table=DIGEST]` over TLS 1.3, in which both sides prove
 * their keys. `Authorization` carries a grant, or a membership from who has no supernode to ask; `traceparent` says for which trace it is.
 *
 * @throws `busy` where the port is taken
 */
export async function servePieces(
  options: DataServerOptions,
  modules: DataServerModules,
): Promise<DataServer> {
  const slots = new Slots(options.slots, modules.pressed);
  const server = createServer(
    {
      cert: modules.certificate.certificate,
      key: modules.certificate.key,
      minVersion: 'TLSv1.3',
      requestCert: true,
      // Certificates are signed by their own keys; who a key is decides, not who vouches for it.
      rejectUnauthorized: false,
      // A resumed session would come without the certificate.
      secureOptions: constants.SSL_OP_NO_TICKET,
      ciphers: CIPHERS,
      handshakeTimeout: HEADERS_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_MS,
      requestTimeout: HEADERS_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
    },
    (request, response) => {
      const { traceparent } = request.headers;
      void modules.tracing.join('give pieces', { traceparent }, () =>
        answer(request, response, slots, modules),
      );
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('tlsClientError', (_, socket) => socket.destroy());
  const ofAddress = new Tally<string>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    if (ofAddress.of(address) >= CONNECTIONS_OF_ONE_ADDRESS) {
      socket.destroy();
      return;
    }
    ofAddress.add(address);
    socket.once('close', () => ofAddress.remove(address));
  });
  const port = await listen(server, {
    address: options.address,
    port: options.port,
    what: 'the server of pieces',
    settings: 'swarm',
    instead: 'set swarm.dataPort to a free port',
  });
  return {
    port,
    get uploads() {
      return slots.taken;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface PieceRequest {
  readonly blob: BlobName;
  readonly first: number;
  readonly last: number;
}

const PATH_PATTERN = /^\/v1\/blobs\/(sha256:[0-9a-f]{64})\/pieces\/([0-9]{1,9})-([0-9]{1,9})$/;

/** @throws `invalid_argument` */
export function parsePieceRequest(target: string): PieceRequest {
  const url = URL.parse(target, 'https://peer/');
  const [, digest, first = '', last = ''] = PATH_PATTERN.exec(url?.pathname ?? '') ?? [];
  const origin = url?.searchParams.get('origin') ?? '';
  const table = url?.searchParams.get('table') ?? undefined;
  const isCut = table === undefined || isDigest(table);
  if (!isDigest(digest) || !isOrigin(origin) || !isCut || Number(first) > Number(last)) {
    throw new DrakkarError('invalid_argument', 'this is no request for pieces');
  }
  return { blob: { digest, origin, table }, first: Number(first), last: Number(last) };
}

export function formatPieceRequest({ blob, first, last }: PieceRequest): string {
  const { digest, origin, table } = blob;
  const query = `origin=${encodeURIComponent(origin)}${table === undefined ? '' : `&table=${table}`}`;
  return `/v1/blobs/${digest}/pieces/${first}-${last}?${query}`;
}

const GRANT_SCHEME = 'Drakkar-Grant ';
const MEMBER_SCHEME = 'Drakkar-Member ';

/** The `Authorization` of a request: the grant where there is one. */
export function authorizationOf(grant: string, membership: string): string {
  return grant === '' ? MEMBER_SCHEME + membership : GRANT_SCHEME + grant;
}

const STATUS: Partial<Record<DrakkarError['code'], number>> = {
  invalid_argument: 400,
  unauthorized: 403,
  not_found: 404,
  limit_exceeded: 413,
  busy: 503,
};

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  slots: Slots,
  modules: DataServerModules,
): Promise<void> {
  try {
    const peer = peerOf(request.socket as TLSSocket);
    if (peer === undefined) throw new DrakkarError('unauthorized', 'this peer shows no key of a peer');
    if (request.method !== 'GET') throw new DrakkarError('invalid_argument', 'pieces are read with GET');
    const wanted = parsePieceRequest(request.url ?? '');
    authorize(request.headers.authorization ?? '', peer, wanted.blob, modules.standing);
    const offered = await modules.find(wanted.blob);
    if (offered === undefined) throw missing(wanted.blob.digest);
    const range = rangeOf(wanted, offered);
    const asked = { peer, blob: wanted.blob.digest, first: wanted.first, last: wanted.last };
    currentSpan()?.set(asked);
    using _slot = await slotOf(slots, peer, response);
    if (response.destroyed) return;
    await send(response, peer, offered, range, modules.rate);
    modules.log.debug(asked, 'a peer was given pieces');
  } catch (cause) {
    const error = toDrakkarError(cause);
    currentSpan()?.end(error);
    modules.log.debug({ url: request.url, error }, 'a peer was given no pieces');
    if (response.headersSent) response.destroy();
    else refuse(response, error);
  }
}

function refuse(response: ServerResponse, { code, message }: DrakkarError): void {
  const words = Buffer.from(`${message}\n`);
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': words.length };
  response.writeHead(STATUS[code] ?? 500, headers).end(words);
}

function authorize(authorization: string, peer: PeerId, blob: BlobName, standing: Standing): void {
  if (authorization.startsWith(GRANT_SCHEME)) {
    standing.requireGrant(authorization.slice(GRANT_SCHEME.length), peer, blob);
  } else if (authorization.startsWith(MEMBER_SCHEME)) {
    standing.requireMember(authorization.slice(MEMBER_SCHEME.length), peer);
  } else {
    throw new DrakkarError('unauthorized', 'the request carries no grant');
  }
}

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

function rangeOf({ blob, first, last }: PieceRequest, offered: OfferedBlob): ByteRange {
  const start = offered.cut.start(first);
  const end = offered.cut.end(last);
  if (end - start > MAX_REQUEST_BYTES) {
    throw new DrakkarError('limit_exceeded', `a request may ask for ${MAX_REQUEST_BYTES} bytes`);
  }
  for (let piece = first; piece <= last; piece += 1) if (!offered.has(piece)) throw missing(blob.digest);
  return { start, end };
}

async function send(
  response: ServerResponse,
  peer: PeerId,
  offered: OfferedBlob,
  { start, end }: ByteRange,
  rate: RateLimit,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': end - start });
  // Written together with the first bytes, those would be copied.
  response.flushHeaders();
  const allowedMs = WRITE_MS + ((end - start) * 1000) / MIN_BYTES_PER_SECOND;
  const late = setTimeout(() => response.destroy(), allowedMs);
  try {
    for (let at = start; at < end; ) {
      const count = await sendPart(response, offered, at, end, rate);
      if (count === 0) return;
      at += count;
      offered.sent(peer, count);
    }
    response.end();
  } finally {
    clearTimeout(late);
  }
}

/** @returns how many bytes have left, 0 where the peer has */
async function sendPart(
  response: ServerResponse,
  offered: OfferedBlob,
  at: number,
  end: number,
  rate: RateLimit,
): Promise<number> {
  const buffer = POOL.take();
  const count = await offered.read(buffer.subarray(0, Math.min(READ_BYTES, end - at)), at);
  if (count === 0) throw new DrakkarError('internal', 'a piece ended before its end');
  await rate.pass(count);
  if (response.destroyed) return 0;
  const hasLeft = await new Promise<boolean>((resolve) => {
    // A response behind another on its connection is told nothing of the end.
    const gone = () => resolve(false);
    response.once('close', gone);
    response.write(buffer.subarray(0, count), (error) => {
      response.off('close', gone);
      resolve(error == null);
    });
  });
  // A buffer of a connection that broke may still be in its hands.
  if (hasLeft) POOL.give(buffer);
  return hasLeft ? count : 0;
}

const missing = (digest: Digest) =>
  new DrakkarError('not_found', `${digest} is not here, or not that piece of it`);

/** How many there are of whom. */
class Tally<Key> {
  readonly #counts = new Map<Key, number>();

  of(key: Key): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: Key): void {
    this.#counts.set(key, this.of(key) + 1);
  }

  remove(key: Key): void {
    const left = this.of(key) - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }
}

/** Waits for a slot, for as long as somebody waits for the response. @throws `busy` where too many wait */
async function slotOf(slots: Slots, peer: PeerId, response: ServerResponse): Promise<Disposable> {
  const turn = Promise.withResolvers<void>();
  const request = { peer, begin: turn.resolve };
  if (!slots.take(request)) throw new DrakkarError('busy', 'too many requests wait already');
  response.once('close', turn.resolve);
  await turn.promise;
  response.off('close', turn.resolve);
  return { [Symbol.dispose]: () => slots.give(request) };
}
