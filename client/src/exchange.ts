import { DrakkarError, errnoOf } from '@drakkar/errors';

/**
 * `import … from 'node:net'` would evaluate every getter of the modules behind it; for `node:http` that loads all of undici.
 */
const { connect } = process.getBuiltinModule('node:net');

export interface ExchangeRequest {
  readonly socketPath: string;
  readonly method: string;
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: object | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The request is on its way: time for what need not wait for the answer. */
  readonly onSent?: (() => void) | undefined;
}

export interface Answer {
  readonly status: number;
  /** To be read to its end, or left, which ends the connection. */
  readonly body: AsyncGenerator<Buffer, void, undefined>;
}

/** Status line and headers; what the daemon sends has a few hundred bytes. */
const MAX_HEAD_BYTES = 64 * 1024;
const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * One request and its answer, over a unix socket, in HTTP/1.0: one connection each, and a body that is as long as its
 * `Content-Length` says or ends with the connection. `node:http` takes 14 ms longer for a process's first request
 * [measured: 18 against 4 ms], and every command waits for that.
 *
 * @throws `unavailable` where nobody answers, or the answer is cut off; `cancelled`
 */
export async function exchange(request: ExchangeRequest): Promise<Answer> {
  const { signal } = request;
  if (signal?.aborted) throw cancelled(signal.reason);
  const socket = connect({ path: request.socketPath });
  const abort = () => void socket.destroy();
  signal?.addEventListener('abort', abort, { once: true });
  const release = () => {
    signal?.removeEventListener('abort', abort);
    socket.destroy();
  };
  try {
    socket.write(requestBytes(request), () => request.onSent?.());
    const parts: AsyncIterator<Buffer> = socket[Symbol.asyncIterator]();
    const { status, lengthBytes, rest } = await readHead(parts);
    return { status, body: readBody(parts, rest, lengthBytes, signal, release) };
  } catch (cause) {
    release();
    if (signal?.aborted) throw cancelled(cause);
    throw cause instanceof DrakkarError ? cause : unreachable(request.socketPath, cause);
  }
}

function requestBytes({ method, path, body }: ExchangeRequest): string {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers =
    body === undefined
      ? ''
      : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n`;
  return `${method} ${path} HTTP/1.0\r\n${headers}\r\n${text}`;
}

interface Head {
  readonly status: number;
  readonly lengthBytes: number | undefined;
  readonly rest: Buffer;
}

async function readHead(parts: AsyncIterator<Buffer>): Promise<Head> {
  let received = Buffer.alloc(0);
  for (;;) {
    const end = received.indexOf(HEAD_END);
    if (end >= 0)
      return parseHead(received.toString('latin1', 0, end), received.subarray(end + HEAD_END.length));
    if (received.length > MAX_HEAD_BYTES) throw notOurs();
    const { value, done } = await parts.next();
    if (done) throw cutOff();
    received = Buffer.concat([received, value]);
  }
}

/** Exported for its tests. @throws `unavailable` for what is no answer in HTTP */
export function parseHead(head: string, rest: Buffer): Head {
  const status = /^HTTP\/1\.[01] ([1-5][0-9]{2})(?: |\r\n|$)/.exec(head)?.[1];
  const length = /\r\nContent-Length: *([0-9]{1,15}) *(?:\r\n|$)/i.exec(head)?.[1];
  if (status === undefined) throw notOurs();
  return { status: Number(status), lengthBytes: length === undefined ? undefined : Number(length), rest };
}

async function* readBody(
  parts: AsyncIterator<Buffer>,
  first: Buffer,
  lengthBytes: number | undefined,
  signal: AbortSignal | undefined,
  release: () => void,
): AsyncGenerator<Buffer, void, undefined> {
  let received = 0;
  try {
    for (let part = first; ; ) {
      received += part.length;
      if (lengthBytes !== undefined && received > lengthBytes) throw notOurs();
      if (part.length > 0) yield part;
      if (received === lengthBytes) return;
      const { value, done } = await parts.next();
      if (done) break;
      part = value;
    }
  } catch (cause) {
    if (signal?.aborted) throw cancelled(cause);
    throw cause instanceof DrakkarError ? cause : cutOff(cause);
  } finally {
    release();
  }
  if (signal?.aborted) throw cancelled(signal.reason);
  if (lengthBytes !== undefined) throw cutOff();
}

function cancelled(cause: unknown): DrakkarError {
  return new DrakkarError('cancelled', 'the call was cancelled', { cause });
}

/** What is thrown where an answer has no end. */
export function cutOff(cause?: unknown): DrakkarError {
  return new DrakkarError('unavailable', 'the daemon ended the connection before it had finished', {
    hint: 'look at the daemon’s log, then try again: what was done so far is kept',
    cause,
  });
}

function notOurs(): DrakkarError {
  return new DrakkarError('unavailable', 'what answers there is not the daemon’s admin API', {
    hint: 'check --socket, $DRAKKAR_SOCKET or the configuration',
  });
}

function unreachable(socketPath: string, cause: unknown): DrakkarError {
  const denied = errnoOf(cause) === 'EACCES';
  const message = cause instanceof Error ? cause.message : String(cause);
  return new DrakkarError('unavailable', `no daemon answers at ${socketPath}: ${message}`, {
    hint: denied
      ? 'run this as the user that runs the daemon, or as root'
      : 'start one with `drakkar up` (as root)',
    cause,
  });
}
