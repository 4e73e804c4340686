import type { KeyObject } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { SupernodeStanding, SwarmStatus } from '@drakkar/client';
import {
  type BlobName,
  type Cut,
  formatHostPort,
  type PeerId,
  parseJoinToken,
  parseSupernodeAddress,
} from '@drakkar/protocol';
import { type Tracing, untraced } from '@drakkar/service';
import { HAVE_PROTOCOL, reachable, startNode } from '@drakkar/wire';
import { RateLimit } from '../rate-limit.ts';
import type { Log } from '../snapshots/modules.ts';
import type { ContentRemoved, Store } from '../store/index.ts';
import { certificateFor } from './certificate.ts';
import { ClusterSnapshots } from './cluster-snapshots.ts';
import { ClusterTasks } from './cluster-tasks.ts';
import { DataClient } from './data-client.ts';
import { servePieces } from './data-server.ts';
import type { LocalPieces, PieceSink } from './exchange.ts';
import { Exchanges, type SwarmDownload, type SwarmPieces } from './exchanges.ts';
import type { BlobShape } from './fetcher.ts';
import { HostFigures } from './host-figures.ts';
import { lookAgain } from './look-again.ts';
import { Names } from './names.ts';
import type { SwarmLimits } from './options.ts';
import { MemoryBudget } from './rate.ts';
import { STANDING_FILE, Standing } from './standing.ts';
import { Supernodes, whyDown } from './supernodes.ts';

export interface SwarmPeerOptions {
  readonly stateDirectory: string;
  /** Where some of the supernodes are, as `host:port/PEER`; of the others this host hears. */
  readonly supernodes: readonly string[];
  /** What that is by then, where it may change. */
  readonly supernodesNow?: (() => Promise<readonly string[]>) | undefined;
  /** Needed until this host is a member. */
  readonly joinToken: string | null;
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly string[];
  readonly address: string;
  /** Where others reach this host; found out where `null`. */
  readonly advertise: string | null;
  readonly controlPort: number;
  readonly dataPort: number;
  readonly mdns: boolean;
  readonly limits: SwarmLimits;
}

export interface SwarmPeerModules {
  readonly key: KeyObject;
  readonly store: Store;
  readonly log: Log;
  readonly tracing: Tracing;
}

/** This host as a member of the swarm. */
export interface SwarmPeer extends AsyncDisposable {
  /** What content is called by who does not know its digest. */
  readonly names: Names;
  /** Snapshots that other hosts have, and what starts read of them. */
  readonly snapshots: ClusterSnapshots;
  /** What the supernode has this host do. */
  readonly tasks: ClusterTasks;
  /** What it says of itself with each heartbeat. */
  readonly figures: HostFigures;
  status(): SwarmStatus;
  /** Goes to the supernode, which makes this host a member and sends others to it. */
  join(): void;
  /** What people call a host; `null` where that is not known. */
  nameOf(peer: PeerId): string | null;
  /** Takes part in a blob of which some pieces may be here. */
  download(blob: BlobShape, local: LocalPieces, sink: PieceSink): SwarmDownload;
  /** The same in a blob that is cut by a trusted table, of which only what is wanted is fetched. */
  pieces(blob: BlobShape, local: LocalPieces, sink: PieceSink): SwarmPieces;
  /** Complete content that others have not been able to ask for, or not cut in this way, until now. */
  offer(name: BlobName, cut: Cut): void;
  /** A peer has sent, or passed on, wrong bytes that matched what it had said. */
  report(peer: PeerId, blob: BlobName, piece: number): void;
  /** The store has it no longer. */
  forget(content: ContentRemoved): void;
}

/** @throws `busy` where a port is taken; `invalid_argument` for an address or token that is none */
export async function startSwarmPeer(
  options: SwarmPeerOptions,
  modules: SwarmPeerModules,
): Promise<SwarmPeer> {
  const addresses = options.supernodes.map(parseSupernodeAddress);
  const token = options.joinToken === null ? undefined : parseJoinToken(options.joinToken);
  await using stack = new AsyncDisposableStack();
  const node = stack.use(
    await startNode({
      key: modules.key,
      listen: [{ host: options.address, port: options.controlPort }],
      mdns: options.mdns,
      settings: 'swarm.address or swarm.controlPort',
    }),
  );
  const standing = await Standing.open(
    join(options.stateDirectory, STANDING_FILE),
    node.peer,
    token,
    modules.log,
  );
  stack.defer(async () => await standing.saved());
  const certificate = await certificateFor(modules.key);
  const { limits } = options;
  const client = stack.use(new DataClient(certificate));
  const swarm = new Exchanges(modules);
  const names = new Names();
  const snapshots = new ClusterSnapshots(standing);
  const tasks = new ClusterTasks();
  const figures = new HostFigures();
  stack.defer(() => swarm.end());
  const server = stack.use(
    await servePieces(
      { address: options.address, port: options.dataPort, slots: limits.uploadSlots },
      {
        certificate,
        standing,
        rate: new RateLimit(limits.uploadRate),
        ...{ log: modules.log, tracing: modules.tracing },
        find: (blob) => swarm.offered(blob),
        pressed: (isPressed) => swarm.choke(isPressed),
      },
    ),
  );
  const host = options.advertise ?? reachable(options.address);
  const dataAddress = formatHostPort({ host, port: server.port });
  const link = stack.use(
    new Supernodes({
      addresses,
      host: {
        name: options.name ?? hostname(),
        dataAddress,
        controlAddress: formatHostPort({ host, port: node.port }),
        labels: options.labels,
        uploadSlots: limits.uploadSlots,
        roles: options.roles,
      },
      node,
      standing,
      joinSecret: token?.secret ?? '',
      log: modules.log,
      events: {
        advice: (advice) => swarm.advise(advice),
        revoked: (peers) => {
          for (const peer of peers) {
            swarm.shun(peer);
            client.forget(peer);
            void node.drop(peer);
          }
        },
        named: (name) => names.named(name),
        found: (answer, holders) => {
          for (const { peer, controlAddresses } of holders) swarm.meet(peer, controlAddresses);
          snapshots.found(answer);
        },
        task: (task, traceparent) => tasks.task(task, traceparent),
        cancelTask: (id) => tasks.cancel(id),
        changed: () => {
          swarm.linkChanged();
          names.linkChanged();
          snapshots.linkChanged();
        },
        complete: () => swarm.complete(),
        figures: () => figures.listen(() => server.uploads),
      },
    }),
  );
  const { supernodesNow } = options;
  if (supernodesNow !== undefined) {
    const ending = new AbortController();
    const looking = lookAgain(link, supernodesNow, { log: modules.log, signal: ending.signal });
    stack.defer(async () => {
      ending.abort();
      await looking;
    });
  }
  names.begin(link);
  snapshots.begin(link);
  tasks.begin(link);
  swarm.begin({
    self: node.peer,
    node,
    standing,
    link,
    client,
    budget: new MemoryBudget(limits.inFlightBytes, limits.memoryBytes),
    downloadRate: new RateLimit(limits.downloadRate),
    dataAddress,
    labels: options.labels,
    log: modules.log,
    acquaintances: () => swarm.acquaintances(),
    conversations: { open: 0 },
    serving: {
      get uploads() {
        return server.uploads;
      },
      uploadSlots: limits.uploadSlots,
    },
    sent: (bytes) => {
      figures.sentBytes += bytes;
    },
    pieceReceived: (peer, bytes) => figures.received(peer, bytes),
  });
  node.onNeighbour((peer, addresses) => swarm.meet(peer, addresses));
  // A stream may come over a connection that was opened for somebody here.
  await node.handle(HAVE_PROTOCOL, (stream) => untraced(() => swarm.serve(stream)));
  const running = stack.move();
  return {
    names,
    snapshots,
    tasks,
    figures,
    status: () => ({
      peer: node.peer,
      supernode: standingOf(link, options.supernodes),
      supernodes: link.list().map(({ address, serving, link: each }) => ({
        address,
        up: each.isUp,
        serving,
        downMs: each.downMs,
        error: each.lastError?.toJSON() ?? null,
        clockAheadMs: each.clockAheadMs ?? null,
      })),
      memberUntilMs: standing.memberUntilMs,
      knownPeers: swarm.knownPeers,
      dataPort: server.port,
      controlPort: node.port,
      uploads: server.uploads,
      exchanges: swarm.size,
      sentBytes: figures.sentBytes,
      receivedBytes: figures.receivedBytes,
    }),
    join: () => link.start(),
    nameOf: (peer) => standing.nameOf(peer),
    download: (blob, local, sink) => swarm.download(blob, local, sink),
    pieces: (blob, local, sink) => swarm.pieces(blob, local, sink),
    offer: (name, { sizeBytes, pieceCount: pieces }) => {
      if (pieces > 0) link.complete({ name, sizeBytes, pieces });
    },
    report: (peer, blob, piece) => {
      // Perhaps it has only passed on what it was told: no proof, but reason enough to stay away from it.
      modules.log.warn({ peer, blob: blob.digest, piece }, 'a peer has given a wrong piece');
      link.useless(peer, blob);
      swarm.shun(peer);
    },
    forget: ({ digest, origins, table }) => {
      const names = origins.map((origin) => ({ digest, origin }));
      for (const name of [...names, ...(table === null ? [] : names.map((each) => ({ ...each, table })))]) {
        swarm.drop(name);
        link.forget(name);
      }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** All supernodes as if they were one: the first that is there speaks for it. */
function standingOf(supernodes: Supernodes, configured: readonly string[]): SupernodeStanding {
  const all = supernodes.list();
  const up = all.find(({ serving }) => serving);
  return {
    address: up?.address ?? configured[0] ?? '',
    up: supernodes.isUp,
    downMs: supernodes.downMs,
    error: supernodes.isUp ? null : (whyDown(all)?.toJSON() ?? null),
    clockAheadMs: all.find(({ link }) => link.clockAheadMs !== undefined)?.link.clockAheadMs ?? null,
  };
}
