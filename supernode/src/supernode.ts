import { join } from 'node:path';
import { ADMIN_SOCKET_NAME } from '@drakkar/client';
import { formatHostPort, type PeerId, toDrakkarError } from '@drakkar/protocol';
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
  type ApiPlace,
  Audit,
  Events,
  type MembersApi,
  serveApi,
  Tokens,
} from './api/index.ts';
import { requireRestored } from './backup.ts';
import type { SupernodeConfig } from './config.ts';
import { Control, clockMs } from './control/control.ts';
import { Session } from './control/session.ts';
import { clusterOf, isEnded, Jobs } from './jobs/index.ts';
import { Authority } from './members/authority.ts';
import { forget, forgetAway } from './members/forget.ts';
import { importMembers } from './members/import.ts';
import { Members } from './members/members.ts';
import { createSupernodeMetrics } from './metrics.ts';
import { Policies } from './policies/index.ts';
import { SnapshotCatalogue } from './snapshots/catalogue.ts';
import { SqliteState, WriteBehind } from './state/index.ts';
import { Traffic } from './traffic/traffic.ts';
import { Views } from './views.ts';
import { Hooks } from './webhooks/index.ts';

export type SupernodeStatus = ReturnType<ApiModules['status']>;

/** What hosts move is remembered this often, for ten minutes. */
const SAMPLE_MS = 5_000;

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
  await requireRestored(config.stateDirectory);
  await makeDirectory(config.stateDirectory, 0o700);
  const state = stack.use(new SqliteState(join(config.stateDirectory, 'state.sqlite')));
  const writer = stack.use(
    new WriteBehind(state, (error) => {
      if (error === undefined) log.info('what must not be forgotten is written again');
      else log.error({ error }, 'what must not be forgotten can’t be written: it is kept, and tried again');
    }),
  );
  await importMembers(join(config.stateDirectory, 'members.sqlite'), state, writer);
  const members = await Members.open(state, writer);
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
    jobs: () => jobs.active,
    listeners: () => events.listeners,
    upstreamBytes: () => traffic.upstreamBytes,
    peerBytes: () => traffic.peerBytes,
    isStateAway: () => writer.failure !== undefined,
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
  const clock = { wallMs: Date.now, evenMs: clockMs, chance: Math.random };
  const jobs = stack.use(
    await Jobs.open({ state, writer, cluster: clusterOf(control, members), clock, log }),
  );
  const policies = stack.use(
    await Policies.open({
      ...{ state, jobs, log, nowMs: Date.now },
      forgetUnused: (isOf, unusedMs) => catalogue.forgetUnused(isOf, Date.now() - unusedMs),
    }),
  );
  const hooks = new Hooks({ state, pushed: (images) => policies.pushed(images), nowMs: Date.now });
  const events = new Events();
  const traffic = new Traffic();
  const views = new Views({ control, members, catalogue, traces, traffic, jobs });
  const tellOfHost = (peer: PeerId) => {
    const host = views.host(peer);
    if (host !== undefined) events.tell('host', host);
  };
  control.tasks = {
    came: (host) => {
      jobs.came(host);
      tellOfHost(host.peer);
    },
    left: (peer) => {
      traffic.left(peer);
      tellOfHost(peer);
    },
    beat: (peer, heartbeat) => {
      const { name = peer } = control.swarm.hosts.get(peer) ?? {};
      traffic.beat(peer, name, heartbeat, clockMs(), Date.now());
      for (const { found, totalMs } of heartbeat.starts)
        metrics.startSeconds.observe({ found: foundOf(found) }, totalMs / 1000);
    },
    heard: (peer, report) => jobs.heard(peer, report),
    firstPull: (peer, { image, sizeBytes }) => {
      if (image !== undefined)
        policies.firstPull(peer, image.reference, image.platform || undefined, Number(sizeBytes));
    },
  };
  await node.handle(SUPERNODE_PROTOCOL, (stream) => new Session(stream, control).run());
  stack.use(
    jobs.onChange((job) => {
      events.tell('job', job);
      if (isEnded(job)) metrics.jobsEnded.inc({ kind: job.spec.kind, state: job.state });
    }),
  );
  const sampling = setInterval(() => events.tell('traffic', traffic.sample(Date.now())), SAMPLE_MS);
  stack.defer(() => clearInterval(sampling));

  const address = `${formatHostPort({ host: reachable(config.address), port: node.port })}/${node.peer}`;
  let place: ApiPlace = { url: '', pin: null };
  const status = (): SupernodeStatus => ({
    version: packageDocument.version,
    pid: process.pid,
    peer: node.peer,
    clusterKey: authority.clusterKey,
    address,
    apiUrl: place.url,
    apiPin: place.pin,
    metricsUrl: `http://${formatHostPort({ host: config.metrics.address, port: metricsPort })}/metrics`,
    uptimeMs: performance.now() - startedMs,
    hosts: control.swarm.hosts.size,
    blobs: control.swarm.blobs.size,
    snapshots: catalogue.size,
    jobs: jobs.active,
  });
  const isConnected = (peer: PeerId) => control.isAdmitted(peer);
  const membersApi: MembersApi = {
    list: () => views.hosts(),
    find: (peer) => views.host(peer),
    joinToken: () => ({ supernode: address, joinToken: authority.joinToken() }),
    rotateJoinToken: async () => {
      authority.rotateSecret();
      await members.written();
    },
    rotateClusterKey: async () => {
      control.announceKey(await authority.rotateKey(Date.now()));
      // A token names the key that it was made with.
      authority.rotateSecret();
      await members.written();
    },
    revoke: async (peer) => {
      const was = members.revoke(peer, Date.now(), Date.now() + config.membershipMs);
      if (was) control.revoke(peer);
      await members.written();
      return was;
    },
    forget: async (peer) => {
      forget(peer, { members, isConnected });
      await members.written();
    },
    forgetAway: async (awayMs) => {
      const gone = forgetAway(awayMs, { members, isConnected }, Date.now());
      await members.written();
      return gone.map(({ peer, name }) => ({ peer, name }));
    },
  };
  const whyNotReady = async () =>
    await state.get('settings/begun').then(
      () => undefined,
      (error: unknown) => toDrakkarError(error).message,
    );
  const { port: metricsPort } = stack.use(
    await serveMetrics(config.metrics.address, config.metrics.port, metrics.registry, whyNotReady),
  );
  const tokens = stack.use(await Tokens.open(state));
  const audit = new Audit(state, writer);
  stack.use(
    await serveApi(
      {
        ...{ jobs, tokens, audit, events, policies, hooks, metrics, status },
        members: membersApi,
        overview: () => views.overview(),
        topology: () => views.topology(),
        blobs: () => views.blobs(),
        blob: (digest) => views.blob(digest),
        snapshots: (options) => views.snapshots(options),
        snapshot: (manifest) => views.snapshot(manifest),
      },
      {
        ...config.api,
        keys,
        socketPath: join(config.stateDirectory, ADMIN_SOCKET_NAME),
        onListening: (listening) => {
          place = listening;
        },
      },
      log,
    ),
  );
  const { peer, metricsUrl } = status();
  log.info({ address, peer, metricsUrl, apiUrl: place.url, apiPin: place.pin }, 'ready');
  const running = stack.move();
  return {
    get joinToken() {
      return authority.joinToken();
    },
    status,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const FOUND: ReadonlySet<string> = new Set(['here', 'cluster', 'registry', 'built']);

/** Hosts may say anything, and a metric's labels are kept for ever. */
const foundOf = (text: string): string => (FOUND.has(text) ? text : 'other');
