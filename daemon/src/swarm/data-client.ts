import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { type BlobName, DrakkarError, type PeerId, toDrakkarError } from '@drakkar/protocol';
import type { HostPort } from '@drakkar/wire';
import { type PeerCertificate, peerOf } from './certificate.ts';
import { formatPieceRequest } from './data-server.ts';
import type { RateLimit } from './rate.ts';

/** Which pieces, of whom. */
export interface PieceCall {
  readonly peer: PeerId;
  readonly address: HostPort;
  readonly blob: BlobName;
  readonly first: number;
  readonly last: number;
  /** Of the whole answer. */
  readonly bytes: number;
  readonly authorization: string;
  readonly signal: AbortSignal;
}

const CONNECT_MS = 5_000;
const CONNECTIONS_OF_ONE_PEER = 8;
const IDLE_MS = 45_000;
const MAX_PEERS = 256;

/** Reads pieces from peers over kept connections, each to the peer that was named or to nobody. */
export class DataClient implements Disposable {
  readonly #certificate: PeerCertificate;
  readonly #rate: RateLimit;
  readonly #agents = new Map<PeerId, PinnedAgent>();

  constructor(certificate: PeerCertificate, rate: RateLimit) {
    this.#certificate = certificate;
    this.#rate = rate;
  }

  /**
   * The bytes of the pieces in chunks as they come: exactly as many as were asked for, or an error.
   * @throws `unavailable` | `busy` | `unauthorized` | `not_found` | `invalid_content` | `cancelled`
   */
  async *fetch(call: PieceCall): AsyncGenerator<Buffer, void, undefined> {
    const response = await this.#send(call);
    try {
      let received = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        received += chunk.length;
        if (received > call.bytes) throw wrongLength(call.peer, 'more bytes than it was asked for');
        await this.#rate.pass(chunk.length, call.signal);
        yield chunk;
      }
      if (received < call.bytes) throw wrongLength(call.peer, 'fewer bytes than it was asked for');
    } catch (cause) {
      if (call.signal.aborted) throw toDrakkarError(call.signal.reason, 'cancelled');
      if (cause instanceof DrakkarError) throw cause;
      throw new DrakkarError('unavailable', `${call.peer} broke off: ${messageOf(cause)}`, { cause });
    } finally {
      // What has been read to its end keeps its connection.
      if (!response.complete) response.destroy();
    }
  }

  /** Closes the connections to a peer. */
  forget(peer: PeerId): void {
    this.#agents.get(peer)?.destroy();
    this.#agents.delete(peer);
  }

  [Symbol.dispose](): void {
    for (const peer of [...this.#agents.keys()]) this.forget(peer);
  }

  #send(call: PieceCall): Promise<IncomingMessage> {
    const { peer, address, signal, authorization } = call;
    return new Promise((resolve, reject) => {
      const request = httpsRequest({
        agent: this.#agentOf(peer, address),
        host: address.host,
        port: address.port,
        path: formatPieceRequest(call),
        headers: { authorization },
        signal,
      });
      request.once('error', (cause) => {
        if (signal.aborted) reject(toDrakkarError(signal.reason, 'cancelled'));
        else if (cause instanceof DrakkarError) reject(cause);
        else
          reject(
            new DrakkarError('unavailable', `${peer} cannot be reached: ${messageOf(cause)}`, { cause }),
          );
      });
      request.once('response', (response) => {
        if (response.statusCode === 200 && Number(response.headers['content-length']) === call.bytes) {
          resolve(response);
          return;
        }
        response.destroy();
        reject(refusal(peer, response));
      });
      request.end();
    });
  }

  #agentOf(peer: PeerId, address: HostPort): PinnedAgent {
    const known = this.#agents.get(peer);
    if (known !== undefined) return known;
    const agent = new PinnedAgent(peer, address, this.#certificate);
    this.#agents.set(peer, agent);
    const [oldest] = this.#agents.keys();
    if (this.#agents.size > MAX_PEERS && oldest !== undefined) this.forget(oldest);
    return agent;
  }
}

/** Connections on which the other end has proven to be one certain peer. */
class PinnedAgent extends Agent {
  readonly #peer: PeerId;
  readonly #address: HostPort;
  readonly #certificate: PeerCertificate;

  constructor(peer: PeerId, address: HostPort, certificate: PeerCertificate) {
    super({ keepAlive: true, maxSockets: CONNECTIONS_OF_ONE_PEER, timeout: IDLE_MS, scheduling: 'lifo' });
    this.#peer = peer;
    this.#address = address;
    this.#certificate = certificate;
  }

  override createConnection(
    _: unknown,
    done?: (error: Error | null, socket: TLSSocket) => void,
  ): TLSSocket | undefined {
    const socket = connect({
      host: this.#address.host,
      port: this.#address.port,
      cert: this.#certificate.certificate,
      key: this.#certificate.key,
      minVersion: 'TLSv1.3',
      rejectUnauthorized: false,
      // The fastest where the processor helps, as all that run containers do.
      ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    });
    socket.setNoDelay(true);
    const late = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_MS);
    const fail = (error: Error) => {
      clearTimeout(late);
      done?.(error, socket);
    };
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(late);
      socket.off('error', fail);
      if (peerOf(socket) === this.#peer) {
        done?.(null, socket);
        return;
      }
      socket.destroy();
      done?.(new DrakkarError('unauthorized', `another than ${this.#peer} answers there`), socket);
    });
    return undefined;
  }
}

function refusal(peer: PeerId, { statusCode = 0 }: IncomingMessage): DrakkarError {
  const code = ({ 403: 'unauthorized', 404: 'not_found', 503: 'busy' } as const)[statusCode];
  return new DrakkarError(code ?? 'unavailable', `${peer} answered ${statusCode}`);
}

const wrongLength = (peer: PeerId, what: string) =>
  new DrakkarError('invalid_content', `${peer} sent ${what}`);

const messageOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause));
