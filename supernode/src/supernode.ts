import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ADMIN_SOCKET_NAME } from '@drakkar/client';
import { formatHostPort, type PeerId, parseRepository, SnapshotMessageSchema } from '@drakkar/protocol';
import {
  errorInLog,
  loadKey,
  logDestination,
  makeDirectory,
  releaseMemoryWhenIdle,
  serveMetrics,
  Traces,
} from '@drakkar/service';
import { reachable, SUPERNODE_PROTOCOL, startNode } from '@drakkar/wire';
import { pino } from 'pino';
import packageDocument from '../package.json' with { type: 'json' };
import {
  type ApiModules,
  Audit,
  type BlobDocument,
  Events,
  type HostDocument,
  type MembersApi,
  serveApi,
  Tokens,
} from './api/index.ts';
import type { SupernodeConfig } from './config.ts';
import { Control, clockMs } from './control/control.ts';
import { Session } from './control/session.ts';
import { clusterOf, Jobs } from './jobs/index.ts';
import { Authority } from './members/authority.ts';
import { forget, forgetAway } from './members/forget.ts';
import { Members } from './members/members.ts';
import { createSupernodeMetrics } from './metrics.ts';
import { SnapshotCatalogue } from './snapshots/catalogue.ts';
import { SqliteState } from './state/index.ts';
import { isSeed } from './swarm/state.ts';

export type SupernodeStatus = ReturnType<ApiModules['status']>;

/** A running supernode. Disposing it ends every daemon's session; they go on with whom they know. */
export interface Supernode extends AsyncDisposable {
  readonly joinToken: string;
  status(): SupernodeStatus;
}

/**
 * Wires the parts together and starts them.
 *
 * @throws `busy` where another supernode has the state directory or a port; `forbidden` where it can't be written
 */
export async function startSupernode(config: SupernodeConfig): Promise<Supernode> {
  const startedMs = performance.now();
  const log = pino(
    { level: config.log.level, base: null, errorKey: 'error', serializers: { error: errorInLog } },
    logDestination(),
  );
  await using stack = new AsyncDisposableStack();
  await makeDirectory(config.stateDirectory, 0o700);
  const members = stack.use(new Members(join(config.stateDirectory, 'members.sqlite')));
  const keys = join(config.stateDirectory, 'keys');
  const authority = await Authority.open(config, members, keys);
  const key = await loadKey(join(keys, 'peer.pem'), 'daemons must then be told the new name');

  const { maxBytes } = config.snapshots;
  const catalogue = stack.use(
    new SnapshotCatalogue(join(config.stateDirectory, 'snapshots.sqlite'), config.snapshots),
  );
  const traces = stack.use(new Traces(join(config.stateDirectory, 'traces.sqlite'), { maxBytes }));

  const metrics = createSupernodeMetrics({
    hosts: () => control.swarm.hosts.size,
    blobs: () => control.swarm.blobs.size,
    names: () => control.names.size,
    snapshots: () => catalogue.size,
  });
  const control = stack.use(new Control(config, { authority, members, metrics, log, catalogue, traces }));
  // Heartbeats are work, too.
  stack.use(releaseMemoryWhenIdle(0.2));
  const node = stack.use(
    await startNode({
      key,
      listen: [{ host: config.address, port: config.port }],
      maxConnections: config.maxHosts,
      keeps: (peer) => control.isAdmitted(peer),
    }),
  );
  await node.handle(SUPERNODE_PROTOCOL, (stream) => new Session(stream, control).run());
  const { port: metricsPort } = stack.use(
    await serveMetrics(config.metrics.address, config.metrics.port, metrics.registry),
  );

  const state = stack.use(new SqliteState(join(config.stateDirectory, 'state.sqlite')));
  const clock = { wallMs: Date.now, evenMs: clockMs, chance: Math.random };
  const jobs = stack.use(await Jobs.open({ state, cluster: clusterOf(control, members), clock, log }));
  const events = new Events();
  const hosts = () => hostDocuments(control, members);
  const tellOfHost = (peer: PeerId) => {
    const host = events.listeners > 0 ? hosts().find((each) => each.peer === peer) : undefined;
    if (host !== undefined) events.tell('host', host);
  };
  control.tasks = {
    came: (host) => {
      jobs.came(host);
      tellOfHost(host.peer);
    },
    left: tellOfHost,
    heard: (peer, report) => jobs.heard(peer, report),
  };
  stack.use(jobs.onChange((job) => events.tell('job', job)));

  const address = `${formatHostPort({ host: reachable(config.address), port: node.port })}/${node.peer}`;
  const status = (): SupernodeStatus => ({
    version: packageDocument.version,
    pid: process.pid,
    peer: node.peer,
    clusterKey: authority.clusterKey,
    address,
    apiUrl: api.url,
    apiPin: api.pin,
    metricsUrl: `http://${formatHostPort({ host: config.metrics.address, port: metricsPort })}/metrics`,
    uptimeMs: performance.now() - startedMs,
    hosts: control.swarm.hosts.size,
    blobs: control.swarm.blobs.size,
    snapshots: catalogue.size,
    jobs: jobs.active,
  });
  const isConnected = (peer: PeerId) => control.isAdmitted(peer);
  const membersApi: MembersApi = {
    list: hosts,
    joinToken: () => ({ supernode: address, joinToken: authority.joinToken() }),
    rotateJoinToken: () => authority.rotateSecret(),
    rotateClusterKey: async () => {
      control.announceKey(await authority.rotateKey(Date.now()));
      // A token names the key that it was made with.
      authority.rotateSecret();
    },
    revoke: (peer) => {
      const was = members.revoke(peer, Date.now(), Date.now() + config.membershipMs);
      if (was) control.revoke(peer);
      return was;
    },
    forget: (peer) => forget(peer, { members, isConnected }),
    forgetAway: (awayMs) =>
      forgetAway(awayMs, { members, isConnected }, Date.now()).map(({ peer, name }) => ({ peer, name })),
  };
  const tokens = stack.use(await Tokens.open(state));
  const audit = stack.use(new Audit(state));
  const api = stack.use(
    await serveApi(
      {
        ...{ jobs, tokens, audit, events, status },
        members: membersApi,
        blobs: () => blobDocuments(control),
        snapshots: (options) => snapshotDocuments(catalogue, options),
      },
      { ...config.api, keys, socketPath: join(config.stateDirectory, ADMIN_SOCKET_NAME) },
      log,
    ),
  );
  const { peer, metricsUrl } = status();
  log.info({ address, peer, metricsUrl, apiUrl: api.url, apiPin: api.pin }, 'ready');
  const running = stack.move();
  return {
    get joinToken() {
      return authority.joinToken();
    },
    status,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function hostDocuments({ swarm }: Control, members: Members): HostDocument[] {
  const quarantined = members.quarantined(Date.now());
  return members.list().map(({ peer, name, revokedAtMs, seenAtMs }) => {
    const host = swarm.hosts.get(peer);
    return {
      peer,
      name,
      state:
        revokedAtMs !== null
          ? 'revoked'
          : quarantined.has(peer)
            ? 'quarantined'
            : host === undefined
              ? 'away'
              : 'connected',
      dataAddress: host?.dataAddress ?? null,
      labels: { ...host?.labels },
      roles: [...(host?.roles ?? [])],
      uploads: host?.uploads ?? 0,
      uploadSlots: host?.uploadSlots ?? 0,
      blobs: swarm.blobsOf(peer),
      heardAtMs: host === undefined ? seenAtMs : Date.now() - (clockMs() - host.heardAtMs),
    };
  });
}

function* blobDocuments({ swarm }: Control): Generator<BlobDocument> {
  for (const blob of swarm.blobs) {
    const parts = [...blob.parts.values()];
    yield {
      digest: blob.name.digest,
      origin: blob.name.origin,
      sizeBytes: blob.sizeBytes,
      pieces: blob.pieces,
      seeds: parts.filter((part) => isSeed(blob, part)).length,
      children: parts.filter(({ wants }) => wants).length,
      readers: [...blob.origins.keys()],
    };
  }
}

function snapshotDocuments(
  catalogue: SnapshotCatalogue,
  options: Parameters<ApiModules['snapshots']>[0],
): ReturnType<ApiModules['snapshots']> {
  const { items, next } = catalogue.page(options);
  return {
    next,
    items: items.map(({ message, blobs, envelope: _, ...snapshot }) => ({
      ...snapshot,
      repository: parseRepository(fromBinary(SnapshotMessageSchema, message).repository).repository,
      sizeBytes: blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      devices: blobs.length - 1,
    })),
  };
}
