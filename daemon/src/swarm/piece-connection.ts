import type { TcpNetConnectOpts } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { DrakkarError, type HostPort, type PeerId } from '@drakkar/protocol';
import { type PeerCertificate, peerOf } from './certificate.ts';

/** One request of pieces: the answer's body goes to `take` as it comes. */
export interface PieceExchange {
  readonly path: string;
  readonly authorization: string;
  /** Of the trace for which it is. */
  readonly traceparent: string | undefined;
  /** Of the body, exactly. */
  readonly bytes: number;
  /** A part of the body, which must be copied before this returns. */
  take(part: Buffer): void;
}

const CONNECT_MS = 5_000;
const READ_BYTES = 256 * 1024;
const MAX_HEAD_BYTES = 4 * 1024;
/** A refusal says why in a line; what is longer is not waited for. */
const MAX_REFUSAL_BYTES = 4 * 1024;
export const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

interface Running {
  readonly exchange: PieceExchange;
  readonly done: () => void;
  readonly fail: (error: DrakkarError) => void;
  /** What has come of the head; `undefined` when it is whole. */
  head: string | undefined;
  /** Still to come of the body. */
  left: number;
  refusal: DrakkarError | undefined;
}

/**
 * A kept connection to a peer over TLS 1.3, in which that peer has proven its key. It reads into one buffer and speaks just the
 * HTTP/1.1 that our servers answer with: `node:https` allocates 64 KiB for each read, however short.
 */
export class PieceConnection {
  readonly #peer: PeerId;
  readonly #socket: TLSSocket;
  readonly #closed: () => void;
  #running: Running | undefined;
  #isOpen = true;

  private constructor(peer: PeerId, socket: TLSSocket, closed: () => void) {
    this.#peer = peer;
    this.#socket = socket;
    this.#closed = closed;
  }

  /** @param closed called when the connection has ended @throws `unavailable` | `unauthorized` */
  static open(
    peer: PeerId,
    address: HostPort,
    { certificate, key }: PeerCertificate,
    closed: (connection: PieceConnection) => void,
  ): Promise<PieceConnection> {
    return new Promise((resolve, reject) => {
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      const options: ConnectionOptions & Pick<TcpNetConnectOpts, 'onread'> = {
        host: address.host,
        port: address.port,
        cert: certificate,
        key,
        minVersion: 'TLSv1.3',
        ciphers: CIPHERS,
        // The key is pinned below; who has signed the certificate says nothing.
        rejectUnauthorized: false,
        onread: {
          buffer,
          callback: (count: number) => {
            connection.#read(buffer.subarray(0, count));
            return true;
          },
        },
      };
      const socket = connect(options);
      const connection: PieceConnection = new PieceConnection(peer, socket, () => closed(connection));
      const late = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_MS);
      let failure = 'the connection was closed';
      socket.setNoDelay(true);
      socket.on('error', (error) => {
        failure = error.message;
      });
      socket.once('close', () => {
        clearTimeout(late);
        const error = new DrakkarError('unavailable', `${peer} cannot be reached: ${failure}`);
        reject(error);
        connection.#end(error);
      });
      socket.once('secureConnect', () => {
        clearTimeout(late);
        if (peerOf(socket) === peer) {
          resolve(connection);
          return;
        }
        reject(new DrakkarError('unauthorized', `another than ${peer} answers there`));
        socket.destroy();
      });
    });
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#socket.destroyed;
  }

  /** One at a time. @throws `unavailable` | `busy` | `unauthorized` | `not_found` | `invalid_content`; what `signal` says */
  run(exchange: PieceExchange, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const aborted = () => {
        // The rest of the answer would have to be read to use the connection again.
        this.#socket.destroy();
        reject(signal.reason);
      };
      const settle = () => {
        this.#running = undefined;
        signal.removeEventListener('abort', aborted);
      };
      signal.addEventListener('abort', aborted, { once: true });
      this.#running = {
        exchange,
        head: '',
        left: 0,
        refusal: undefined,
        done: () => {
          settle();
          resolve();
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      };
      const { path, authorization, traceparent } = exchange;
      const trace = traceparent === undefined ? '' : `traceparent: ${traceparent}\r\n`;
      const head = `GET ${path} HTTP/1.1\r\nhost: peer\r\nauthorization: ${authorization}\r\n${trace}\r\n`;
      this.#socket.write(head);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #end(error: DrakkarError): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#running?.fail(error);
    this.#closed();
  }

  #read(bytes: Buffer): void {
    const running = this.#running;
    if (running === undefined) {
      // Nobody has asked for anything.
      this.#socket.destroy();
      return;
    }
    let body = bytes;
    if (running.head !== undefined) {
      const before = running.head.length;
      running.head += bytes.toString('latin1');
      const end = running.head.indexOf('\r\n\r\n');
      if (end < 0) {
        if (running.head.length > MAX_HEAD_BYTES) this.#breakOff(running, 'a head without end');
        return;
      }
      body = bytes.subarray(end + 4 - before);
      if (!this.#understand(running, running.head.slice(0, end))) return;
      running.head = undefined;
    }
    if (body.length > running.left) {
      this.#breakOff(running, 'more bytes than it was asked for');
      return;
    }
    running.left -= body.length;
    if (running.refusal === undefined && body.length > 0) running.exchange.take(body);
    if (running.left > 0) return;
    if (running.refusal === undefined) running.done();
    else running.fail(running.refusal);
  }

  /** @returns whether the body is to be read */
  #understand(running: Running, head: string): boolean {
    const status = Number(/^HTTP\/1\.1 ([0-9]{3}) /.exec(head)?.[1]);
    const length = Number(/\r\ncontent-length: ([0-9]{1,12})(?:\r\n|$)/i.exec(head)?.[1] ?? Number.NaN);
    if (status === 200) {
      if (length === running.exchange.bytes) {
        running.left = length;
        return true;
      }
      this.#breakOff(running, `${length} bytes instead of ${running.exchange.bytes}`);
      return false;
    }
    const code = ({ 403: 'unauthorized', 404: 'not_found', 503: 'busy' } as const)[status];
    running.refusal = new DrakkarError(code ?? 'unavailable', `${this.#peer} answered ${status}`);
    running.left = length;
    if (length <= MAX_REFUSAL_BYTES) return true;
    running.fail(running.refusal);
    this.#socket.destroy();
    return false;
  }

  #breakOff(running: Running, what: string): void {
    running.fail(new DrakkarError('invalid_content', `${this.#peer} sent ${what}`));
    this.#socket.destroy();
  }
}
