import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { Duplex } from 'node:stream';
import { DrakkarError, toDrakkarError } from '@drakkar/protocol';
import type { ApiHandler, Origin } from './origin.ts';
import { PROBLEM_TYPE, problemOf } from './problem.ts';

/** Said by the supernode that passes a request on, and by nobody else: `local` or `open`, and an address. */
const ORIGIN = 'x-drakkar-origin';
/** Of one connection, and not of the request. Source: RFC 9110, section 7.6.1. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const RETRY_AFTER_SECONDS = 1;
/** Until an answer begins. */
const ANSWER_MS = 30_000;

/** Passes a request on, and its answer back. @param stream to the supernode that leads */
export function forward(
  request: IncomingMessage,
  response: ServerResponse,
  origin: Origin,
  stream: Duplex,
): void {
  const passed = httpRequest({
    createConnection: () => stream,
    method: request.method,
    path: request.url,
    headers: {
      ...endToEnd(request.headers),
      ...(request.headers['transfer-encoding'] === undefined ? {} : { 'transfer-encoding': 'chunked' }),
      connection: 'close',
      [ORIGIN]: `${origin.isLocal ? 'local' : 'open'} ${origin.address}`,
    },
  });
  const late = setTimeout(() => passed.destroy(new Error('it does not answer')), ANSWER_MS);
  passed.once('close', () => clearTimeout(late));
  response.once('close', () => passed.destroy());
  passed.once('response', (answer) => {
    clearTimeout(late);
    response.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
    answer.pipe(response);
    answer.once('error', () => response.destroy());
  });
  passed.on('error', (cause) => refuse(response, cause));
  request.pipe(passed);
}

/** Nobody is there who could answer. */
export function refuse(response: ServerResponse, cause: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { message } = toDrakkarError(cause, 'unavailable');
  const problem = problemOf(
    new DrakkarError('unavailable', `the supernode that leads can’t be asked: ${message}`, {
      hint: 'try again in a moment: another one takes over within seconds',
    }),
  );
  response.writeHead(problem.status, {
    'content-type': PROBLEM_TYPE,
    'retry-after': String(RETRY_AFTER_SECONDS),
    connection: 'close',
  });
  response.end(JSON.stringify(problem));
}

/** Where requests arrive that other supernodes pass on. */
export class Forwarded {
  readonly #server;

  constructor(handler: ApiHandler) {
    this.#server = createServer((request, response) => {
      const [kind, address = ''] = String(request.headers[ORIGIN]).split(' ');
      delete request.headers[ORIGIN];
      handler(request, response, { isLocal: kind === 'local', address, isPassedOn: true });
    });
  }

  /** Whose word is believed about where its requests come from. */
  serve(stream: Duplex): void {
    this.#server.emit('connection', stream);
  }
}

function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = String(headers.connection ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase());
  const dropped = new Set([...HOP_BY_HOP, ORIGIN, ...named]);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name)));
}
