import { AsyncLocalStorage } from 'node:async_hooks';
import { type BlobName, DrakkarError, type HostPort, type PeerId } from '@drakkar/protocol';
import { currentTraceparent, inSpan } from '@drakkar/service';
import type { PeerCertificate } from './certificate.ts';
import { formatPieceRequest } from './data-server.ts';
import { PieceConnection } from './piece-connection.ts';

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
  /** A part of the answer, which must be copied before this returns. */
  take(part: Buffer): void;
}

const CONNECTIONS_OF_ONE_PEER = 8;
/** The server waits longer than this for the next request, so that no request meets a closing connection. */
const IDLE_MS = 45_000;

/** Reads pieces from peers over kept connections, each from the peer that was named or from nobody. */
export class DataClient implements Disposable {
  readonly #certificate: PeerCertificate;
  readonly #links = new Map<PeerId, { readonly idle: Map<PieceConnection, NodeJS.Timeout>; open: number }>();

  constructor(certificate: PeerCertificate) {
    this.#certificate = certificate;
  }

  /**
   * Returns when all bytes have been taken: exactly as many as were asked for.
   * @throws `unavailable` | `busy` | `unauthorized` | `not_found` | `invalid_content`; what the signal says
   */
  async fetch(call: PieceCall): Promise<void> {
    const { peer, blob, first, last, bytes } = call;
    const attributes = { peer, blob: blob.digest, first, last, bytes };
    await inSpan('pieces', { kind: 'client', attributes }, () => this.#fetch(call));
  }

  /** Closes the connections to a peer. */
  forget(peer: PeerId): void {
    const link = this.#links.get(peer);
    this.#links.delete(peer);
    for (const [connection, timer] of link?.idle ?? []) {
      clearTimeout(timer);
      connection.close();
    }
  }

  [Symbol.dispose](): void {
    for (const peer of [...this.#links.keys()]) this.forget(peer);
  }

  async #fetch(call: PieceCall): Promise<void> {
    const { peer, signal } = call;
    const exchange = {
      path: formatPieceRequest(call),
      authorization: call.authorization,
      traceparent: currentTraceparent(),
      bytes: call.bytes,
      // A kept connection is that of whoever has opened it.
      take: AsyncLocalStorage.bind(call.take),
    };
    const connection = this.#takeIdle(peer) ?? (await this.#open(peer, call.address));
    try {
      signal.throwIfAborted();
      await connection.run(exchange, signal);
    } finally {
      this.#keep(peer, connection);
    }
  }

  #linkOf(peer: PeerId) {
    const link = this.#links.get(peer) ?? { idle: new Map<PieceConnection, NodeJS.Timeout>(), open: 0 };
    this.#links.set(peer, link);
    return link;
  }

  /** The one used last: the others may end. */
  #takeIdle(peer: PeerId): PieceConnection | undefined {
    const { idle } = this.#linkOf(peer);
    const last = [...idle].at(-1);
    if (last === undefined) return undefined;
    const [connection, timer] = last;
    clearTimeout(timer);
    idle.delete(connection);
    return connection;
  }

  async #open(peer: PeerId, address: HostPort): Promise<PieceConnection> {
    const link = this.#linkOf(peer);
    if (link.open >= CONNECTIONS_OF_ONE_PEER) {
      throw new DrakkarError('busy', `${link.open} connections to ${peer} are in use already`);
    }
    link.open += 1;
    let counted = true;
    const closed = (connection?: PieceConnection) => {
      if (counted) link.open -= 1;
      counted = false;
      if (connection === undefined) return;
      clearTimeout(link.idle.get(connection));
      link.idle.delete(connection);
    };
    try {
      return await PieceConnection.open(peer, address, this.#certificate, closed);
    } catch (error) {
      closed();
      throw error;
    }
  }

  #keep(peer: PeerId, connection: PieceConnection): void {
    const link = this.#links.get(peer);
    if (link === undefined) connection.close();
    else if (connection.isOpen)
      link.idle.set(connection, setTimeout(() => connection.close(), IDLE_MS).unref());
  }
}
