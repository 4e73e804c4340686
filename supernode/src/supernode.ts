import { hostname } from 'node:os';
import { join } from 'node:path';
import { ADMIN_SOCKET_NAME } from '@drakkar/client';
import { formatHostPort, toDrakkarError } from '@drakkar/protocol';
import {
  createLog,
  loadKey,
  makeDirectory,
  releaseMemoryWhenIdle,
  serveMetrics,
  startTracing,
  Traces,
} from '@drakkar/service';
import { reachable, SUPERNODE_PROTOCOL, startNode } from '@drakkar/wire';
import packageDocument from '../package.json' with { type: 'json' };
import { type ApiModules, type ApiPlace, serveApi } from './api/index.ts';
import { requireRestored } from './backup/index.ts';
import type { SupernodeConfig } from './config.ts';
import { Control } from './control/control.ts';
import { Session } from './control/session.ts';
import { type LeadModules, startLead } from './lead.ts';
import { Leadership } from './leadership.ts';
import { LoopDelay } from './loop-delay.ts';
import { membersApi } from './members/api.ts';
import { Authority } from './members/authority.ts';
import { importMembers } from './members/import.ts';
import { Members } from './members/members.ts';
import { createSupernodeMetrics } from './metrics.ts';
import { joinOthers, type Replicas, SharedKeys, streamToLeader } from './replicas/index.ts';
import { SnapshotCatalogue } from './snapshots/catalogue.ts';
import { SharedSnapshots } from './snapshots/shared.ts';
import { type Check, FencedState, isShared, openState, type StateStore, WriteBehind } from './state/index.ts';

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
  const log = createLog(config.log.level);
  await using stack = new AsyncDisposableStack();
  const { stateDirectory } = config;
  const identity = { name: 'drakkar-supernode', version: packageDocument.version, instance: hostname() };
  const tracing = stack.use(await startTracing(config.tracing, identity, log));
  await requireRestored(stateDirectory);
  await makeDirectory(stateDirectory, 0o700);
  const isOneOfSeveral = isShared(config.state);
  const state = stack.use(await openState(stateDirectory, config.state));
  const writer = stack.use(
    new WriteBehind(state, (error) => {
      if (error === undefined) log.info('hosts and snapshots are remembered again');
      else log.error({ error }, 'hosts and snapshots can’t be written: they are kept, and tried again');
    }),
  );
  await importMembers(join(stateDirectory, 'members.sqlite'), state, writer);
  const keys = join(stateDirectory, 'keys');
  const shared = isOneOfSeveral ? await SharedKeys.open(state, keys, config.state) : undefined;
  await shared?.pull();
  if (isOneOfSeveral && config.state.secretFile === null)
    log.warn({}, 'whoever reads Redis has the cluster’s key: state.secretFile seals it there');
  const members = stack.use(await Members.open(state, writer));
  const authority = await Authority.open(config, members, keys);
  const key = await loadKey(join(keys, 'peer.pem'), 'daemons must then be told the new name');

  const { maxBytes, keepMs } = config.snapshots;
  const catalogue = stack.use(
    new SnapshotCatalogue(join(stateDirectory, 'snapshots.sqlite'), config.snapshots),
  );
  const traces = stack.use(new Traces(join(stateDirectory, 'traces.sqlite'), { maxBytes }));
  if (isOneOfSeveral)
    stack.use(await SharedSnapshots.open({ state, writer, catalogue, traces, keepMs, log }));

  const loopDelay = stack.use(new LoopDelay());
  const metrics = createSupernodeMetrics({
    hosts: () => control.swarm.hosts.size,
    blobs: () => control.swarm.blobs.size,
    names: () => control.names.size,
    snapshots: () => catalogue.size,
    jobs: () => leadership.lead?.activeJobs ?? 0,
    listeners: () => leadership.lead?.listeners ?? 0,
    upstreamBytes: () => leadership.lead?.traffic.upstreamBytes ?? 0,
    peerBytes: () => leadership.lead?.traffic.peerBytes ?? 0,
    isStateAway: () => writer.failure !== undefined || leadership.lead?.isStateAway === true,
    supernodes: () => replicas?.list().length ?? 1,
    isLeading: () => leadership.lead !== undefined,
    loopDelaySeconds: () => loopDelay.take(),
  });
  const control = stack.use(
    new Control(config, { authority, members, metrics, log, catalogue, traces, tracing }),
  );
  // Heartbeats are work, too.
  stack.use(releaseMemoryWhenIdle(0.2));
  const node = stack.use(
    await startNode({
      key,
      listen: [{ host: config.address, port: config.port }],
      maxConnections: config.maxHosts,
      keeps: (peer) => control.isAdmitted(peer) || replicas?.find(peer) !== undefined,
    }),
  );
  await node.handle(SUPERNODE_PROTOCOL, (stream) => new Session(stream, control).run());
  const host = config.advertise ?? reachable(config.address);
  const address = `${formatHostPort({ host, port: node.port })}/${node.peer}`;

  let place: ApiPlace = { url: '', pin: null };
  const supernodes = () =>
    (replicas?.list() ?? []).map((replica) => ({ ...replica, leads: replica.peer === replicas?.leader }));
  const status = (jobs: number): SupernodeStatus => ({
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
    jobs,
    supernodes: supernodes(),
  });
  const leadModules: Omit<LeadModules, 'state'> = {
    ...{ self: node.peer, control, members, catalogue, traces, metrics, log, tracing, status },
    isSure: () => replicas?.isSure ?? true,
    membersApi: membersApi({
      ...{ control, members, authority, membershipMs: config.membershipMs },
      addresses: () => [
        address,
        ...supernodes().flatMap((each) => (each.address === address ? [] : each.address)),
      ],
      shareKey: async (name, text) => await shared?.put(name, text),
    }),
  };
  const leadership = stack.use(
    new Leadership({
      ...{ control, log },
      open: shared && (() => streamToLeader(node, replicas)),
      start: (fence) =>
        startLead(config, { ...leadModules, state: fenced(state, fence) }, place.pin !== null),
    }),
  );

  const { port: metricsPort } = stack.use(
    await serveMetrics(config.metrics.address, config.metrics.port, metrics.registry, () =>
      whyNotReady(shared === undefined ? state.get('settings/begun') : shared.requireThere()),
    ),
  );
  const api = { ...config.api, keys, socketPath: join(stateDirectory, ADMIN_SOCKET_NAME) };
  stack.use(
    await serveApi(api, {
      handler: leadership.handle,
      onPlace: (now) => {
        place = now;
      },
      log,
    }),
  );
  let replicas: Replicas | undefined;
  if (shared === undefined) await leadership.begin(undefined);
  else {
    replicas = await joinOthers({
      state,
      node,
      address,
      control,
      leadership,
      members,
      authority,
      shared,
      log,
    });
    stack.use(replicas);
  }
  const { peer, metricsUrl } = status(0);
  log.info({ address, peer, metricsUrl, apiUrl: place.url, apiPin: place.pin }, 'ready');
  const running = stack.move();
  return {
    get joinToken() {
      return authority.joinToken();
    },
    status: () => status(leadership.lead?.activeJobs ?? 0),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** What only the one that leads changes. */
const fenced = (state: StateStore, fence: Check | undefined): StateStore =>
  fence === undefined ? state : new FencedState(state, fence);

async function whyNotReady(asked: Promise<unknown>): Promise<string | undefined> {
  return await asked.then(
    () => undefined,
    (error: unknown) => toDrakkarError(error).message,
  );
}
