import { join } from 'node:path';
import {
  ADMIN_SOCKET_NAME,
  type SupernodeStatus,
  type SwarmBlobSummary,
  type SwarmHostSummary,
} from '@drakkar/client';
import { formatHostPort } from '@drakkar/protocol';
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
import { serveSupernodeAdmin } from './admin.ts';
import type { SupernodeConfig } from './config.ts';
import { Control, clockMs } from './control/control.ts';
import { Session } from './control/session.ts';
import { Authority } from './members/authority.ts';
import { forget, forgetAway } from './members/forget.ts';
import { Members } from './members/members.ts';
import { createSupernodeMetrics } from './metrics.ts';
import { SnapshotCatalogue } from './snapshots/catalogue.ts';
import { isSeed } from './swarm/state.ts';

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

  const status = (): SupernodeStatus => ({
    version: packageDocument.version,
    pid: process.pid,
    peer: node.peer,
    clusterKey: authority.clusterKey,
    address: `${formatHostPort({ host: reachable(config.address), port: node.port })}/${node.peer}`,
    metricsUrl: `http://${formatHostPort({ host: config.metrics.address, port: metricsPort })}/metrics`,
    uptimeMs: performance.now() - startedMs,
    hosts: control.swarm.hosts.size,
    blobs: control.swarm.blobs.size,
  });
  stack.use(
    await serveSupernodeAdmin(join(config.stateDirectory, ADMIN_SOCKET_NAME), {
      status,
      hosts: () => hostSummaries(control, members),
      blobs: () => blobSummaries(control),
      joinToken: () => authority.joinToken(),
      rotateToken: () => {
        authority.rotateSecret();
        return authority.joinToken();
      },
      rotateKey: async () => {
        control.announceKey(await authority.rotateKey(Date.now()));
        // A token names the key that it was made with.
        authority.rotateSecret();
      },
      revoke: (peer) => {
        const was = members.revoke(peer, Date.now(), Date.now() + config.membershipMs);
        if (was) control.revoke(peer);
        return was;
      },
      forget: (peer) => forget(peer, { members, isConnected: (each) => control.isAdmitted(each) }),
      forgetAway: (awayMs) =>
        forgetAway(awayMs, { members, isConnected: (each) => control.isAdmitted(each) }, Date.now()).map(
          ({ peer, name }) => ({ peer, name }),
        ),
    }),
  );
  const { address, peer, metricsUrl } = status();
  log.info({ address, peer, metricsUrl }, 'ready');
  const running = stack.move();
  return {
    get joinToken() {
      return authority.joinToken();
    },
    status,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function hostSummaries({ swarm }: Control, members: Members): SwarmHostSummary[] {
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
      labels: host?.labels ?? {},
      uploads: host?.uploads ?? 0,
      uploadSlots: host?.uploadSlots ?? 0,
      blobs: swarm.blobsOf(peer),
      heardAtMs: host === undefined ? seenAtMs : Date.now() - (clockMs() - host.heardAtMs),
    };
  });
}

function blobSummaries({ swarm }: Control): SwarmBlobSummary[] {
  return [...swarm.blobs].map((blob) => {
    const parts = [...blob.parts.values()];
    return {
      digest: blob.name.digest,
      origin: blob.name.origin,
      sizeBytes: blob.sizeBytes,
      seeds: parts.filter((part) => isSeed(blob, part)).length,
      children: parts.filter(({ wants }) => wants).length,
      readers: [...blob.origins.keys()],
    };
  });
}
