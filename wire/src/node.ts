import type { KeyObject } from 'node:crypto';
import {
  DrakkarError,
  formatHostPort,
  type HostPort,
  isPeerId,
  type PeerId,
  parsePeerId,
  peerIdOf,
  toDrakkarError,
} from '@drakkar/protocol';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { Connection, PeerId as Libp2pPeerId, Stream } from '@libp2p/interface';
import { mdns } from '@libp2p/mdns';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2p } from 'libp2p';
import { multiaddrOf } from './addresses.ts';
import { quickNoise } from './encrypter.ts';
import { quietYamux } from './muxer.ts';

export interface NodeOptions {
  readonly key: KeyObject;
  /** Where to listen; nowhere when empty. Port 0 takes a free one. */
  readonly listen: readonly HostPort[];
  /** Say and hear on the local network who is there. */
  readonly mdns?: boolean;
  /** What the settings are called that say where to listen. */
  readonly settings?: string;
  readonly maxConnections?: number;
  /** Whether a peer's connection stays, asked a while after it came; all stay when absent. */
  readonly keeps?: (peer: PeerId) => boolean;
}

/** A stream of libp2p, and who is at its other end. */
export interface PeerStream {
  readonly stream: Stream;
  readonly peer: PeerId;
}

export interface ControlNode extends AsyncDisposable {
  readonly peer: PeerId;
  /** The port that it listens on, 0 where it doesn't. */
  readonly port: number;
  /** Serves a protocol. What the handler throws ends the stream. */
  handle(protocol: string, serve: (stream: PeerStream) => Promise<void>): Promise<void>;
  /** A stream to a peer, over the connection that there is or a new one. @throws `unavailable` | `cancelled` */
  open(
    peer: PeerId,
    addresses: readonly HostPort[],
    protocol: string,
    signal: AbortSignal,
  ): Promise<PeerStream>;
  /** Ends every connection to a peer. */
  drop(peer: PeerId): Promise<void>;
  /** Called with each peer that the local network names, and where it is. */
  onNeighbour(found: (peer: PeerId, addresses: readonly HostPort[]) => void): void;
}

/** A handshake that takes longer is given up. */
const HANDSHAKE_MS = 10_000;
const PENDING_HANDSHAKES = 128;
const INTRODUCTION_MS = 15_000;
const STREAMS_OF_ONE_PEER = 1024;
/** How noise says it; libp2p passes on the words alone. Source: libp2p-noise, `utils.ts`. */
const OTHER_PEER = /does not match expected remote identity key/;
const MDNS_INTERVAL_MS = 10_000;
const MDNS_TAG = '_drakkar._udp.local';

/** @throws `busy` where a port is taken; `unavailable` */
export async function startNode(options: NodeOptions): Promise<ControlNode> {
  const maxConnections = options.maxConnections ?? 1024;
  const neighbours = new Set<Neighbour>();
  try {
    const node = await createLibp2p({
      privateKey: await generateKeyPairFromSeed('Ed25519', seedOf(options.key)),
      addresses: { listen: options.listen.map((address) => multiaddrOf(address)) },
      transports: [tcp({ backlog: 4096, maxConnections })],
      connectionEncrypters: [quickNoise()],
      streamMuxers: [quietYamux(STREAMS_OF_ONE_PEER)],
      connectionManager: {
        maxConnections,
        // More than are served before their peers give up would all be served in vain.
        maxIncomingPendingConnections: PENDING_HANDSHAKES,
        inboundConnectionThreshold: Number.POSITIVE_INFINITY,
        inboundUpgradeTimeout: HANDSHAKE_MS,
        dialTimeout: HANDSHAKE_MS,
      },
      // Who speaks a protocol with heartbeats needs no pings beside them.
      connectionMonitor: { enabled: false },
      services: { listing: listQuickly },
      peerDiscovery: options.mdns === true ? [localNetwork(neighbours)] : [],
    });
    if (options.keeps !== undefined) closeUnlessKept(node, options.keeps);
    return new Libp2pNode(node, peerIdOf(options.key), neighbours);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const errno = /\b(EADDRINUSE|EADDRNOTAVAIL|EACCES)\b/.exec(message)?.[1];
    const why = { EADDRINUSE: 'the port is in use', EADDRNOTAVAIL: 'this machine has no such address' };
    const [firstLine] = message.split('\n');
    throw new DrakkarError(
      errno === 'EADDRINUSE' ? 'busy' : 'unavailable',
      `cannot listen on ${options.listen.map(formatHostPort).join(', ')}: ${why[errno as keyof typeof why] ?? errno ?? firstLine}`,
      { hint: `correct ${options.settings ?? 'address and port'} in the configuration`, cause },
    );
  }
}

/** The part of libp2p's connection manager that lists connections. Source: `@libp2p/interface-internal`. */
interface ConnectionLister {
  getConnections(peer?: Libp2pPeerId): Connection[];
  getConnectionsMap(): { values(): Iterable<Connection[]> };
}

/**
 * libp2p copies the list of all connections once for each of them, and does so twice for each that comes: with ten thousand it would do
 * nothing else. Source: libp2p 3.3, `connection-manager/index.ts`.
 */
function listQuickly({ connectionManager }: { readonly connectionManager: ConnectionLister }): object {
  const ofPeer = connectionManager.getConnections.bind(connectionManager);
  connectionManager.getConnections = (peer) => {
    if (peer !== undefined) return ofPeer(peer);
    const all: Connection[] = [];
    for (const connections of connectionManager.getConnectionsMap().values()) all.push(...connections);
    return all;
  };
  return {};
}

type Neighbour = (peer: PeerId, addresses: readonly HostPort[]) => void;

/** Tells of each answer, as libp2p does not: a peer that was heard before may have moved. */
function localNetwork(neighbours: Iterable<Neighbour>): ReturnType<typeof mdns> {
  const start = mdns({ interval: MDNS_INTERVAL_MS, serviceTag: MDNS_TAG });
  return (components) => {
    const discovery = start(components);
    discovery.addEventListener('peer', ({ detail }) => {
      // Whatever speaks libp2p on the local network may be heard, with keys of other kinds.
      const peer = detail.id.toString();
      const addresses = detail.multiaddrs.flatMap((address) => hostPortOf(address.toString()) ?? []);
      if (!isPeerId(peer) || addresses.length === 0) return;
      for (const found of neighbours) found(peer, addresses);
    });
    return discovery;
  };
}

/** Strangers hold no connections for longer than it takes to say who they are. */
function closeUnlessKept(node: Libp2p, keeps: (peer: PeerId) => boolean): void {
  node.addEventListener('connection:open', ({ detail: connection }) => {
    const late = setTimeout(() => {
      const peer = connection.remotePeer.toString();
      if (isPeerId(peer) && keeps(peer)) return;
      connection.abort(new Error('the peer has not said who it is'));
    }, INTRODUCTION_MS);
    late.unref();
  });
}

class Libp2pNode implements ControlNode {
  readonly peer: PeerId;
  readonly #node: Libp2p;
  readonly #neighbours: Set<Neighbour>;

  constructor(node: Libp2p, peer: PeerId, neighbours: Set<Neighbour>) {
    this.#node = node;
    this.peer = peer;
    this.#neighbours = neighbours;
  }

  get port(): number {
    const [first] = this.#node.getMultiaddrs();
    return first === undefined ? 0 : portOf(first.toString());
  }

  handle(protocol: string, serve: (stream: PeerStream) => Promise<void>): Promise<void> {
    const limits = { maxInboundStreams: STREAMS_OF_ONE_PEER, maxOutboundStreams: STREAMS_OF_ONE_PEER };
    return this.#node.handle(
      protocol,
      async (stream, connection) => {
        try {
          await serve({ stream, peer: parsePeerId(connection.remotePeer.toString()) });
        } catch (error) {
          stream.abort(toDrakkarError(error, 'unavailable'));
        }
      },
      limits,
    );
  }

  async open(
    peer: PeerId,
    addresses: readonly HostPort[],
    protocol: string,
    signal: AbortSignal,
  ): Promise<PeerStream> {
    try {
      const targets = addresses.map((address) => multiaddr(multiaddrOf(address, peer)));
      const connection = await this.#node.dial(targets, { signal });
      const stream = await connection.newStream(protocol, {
        signal,
        maxOutboundStreams: STREAMS_OF_ONE_PEER,
      });
      return { stream, peer };
    } catch (cause) {
      if (signal.aborted) throw toDrakkarError(signal.reason, 'cancelled');
      const message = cause instanceof Error ? cause.message : String(cause);
      if (OTHER_PEER.test(message)) {
        const where = addresses.map(formatHostPort).join(', ');
        throw new DrakkarError('unavailable', `another peer than ${peer} answers at ${where}`, {
          hint: 'where it is the supernode: set swarm.supernode to what `drakkar supernode token` prints',
          cause,
        });
      }
      throw new DrakkarError('unavailable', `${peer} cannot be reached: ${message}`, { cause });
    }
  }

  async drop(peer: PeerId): Promise<void> {
    const connections = this.#node
      .getConnections()
      .filter(({ remotePeer }) => remotePeer.toString() === peer);
    for (const connection of connections) connection.abort(new Error('the peer is a member no longer'));
  }

  onNeighbour(found: Neighbour): void {
    this.#neighbours.add(found);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#node.stop();
  }
}

function hostPortOf(text: string): HostPort | undefined {
  const [, host, port] = /^\/(?:ip4|ip6)\/([^/]+)\/tcp\/([0-9]+)/.exec(text) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}

function portOf(text: string): number {
  return hostPortOf(text)?.port ?? 0;
}

/** The 32 bytes from which an Ed25519 key is made. Source: RFC 8037, section 2. */
function seedOf(key: KeyObject): Uint8Array {
  const { d = '' } = key.export({ format: 'jwk' });
  return Buffer.from(d, 'base64url');
}
