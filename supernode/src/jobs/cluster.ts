import { blobKeyOf, type Digest, type PeerId, type RegistryCredential } from '@drakkar/protocol';
import type { Control } from '../control/control.ts';
import type { Members } from '../members/members.ts';
import type { JobsCluster } from './jobs.ts';
import { encodeTask } from './messages.ts';
import type { Job } from './schema.ts';
import type { JobHost } from './select.ts';

/** Who is away for longer is not counted on. */
const AWAY_MS = 10 * 60_000;

/** What is known of hosts and jobs elsewhere. */
export interface Around {
  /** A host with what else is known of where it is. */
  placed(host: JobHost): JobHost;
  /** What a registry may be shown for a job. */
  credentialFor(job: Job): RegistryCredential | undefined;
  /** Whether that is not known yet, and hosts would ask in vain. */
  isHeld(job: Job): boolean;
}

const NOTHING: Around = { placed: (host) => host, credentialFor: () => undefined, isHeld: () => false };

/** The cluster as jobs see it. */
export function clusterOf(control: Control, members: Members, around: Around = NOTHING): JobsCluster {
  const { swarm } = control;
  const isRevoked = (peer: PeerId) => members.find(peer)?.revokedAtMs !== null;
  return {
    hosts: () => swarm.hosts.values().map(around.placed),
    host: (peer) => {
      const host = swarm.hosts.get(peer);
      return host && around.placed(host);
    },
    *awayHosts(): Generator<JobHost> {
      const sinceMs = Date.now() - AWAY_MS;
      for (const { peer, name, seenAtMs } of members.list()) {
        if (seenAtMs < sinceMs || swarm.hosts.has(peer) || isRevoked(peer)) continue;
        yield { peer, name, labels: {}, roles: [], doesTasks: true };
      }
    },
    send: (peer, task, step, job) =>
      control.send(peer, encodeTask(task, step, job, around.credentialFor(job))),
    isHeld: around.isHeld,
    cancel: (peer, id) => control.send(peer, { message: { case: 'cancelTask', value: { id } } }),
    haveBytes: (peer, origin, layers) =>
      layers.reduce((sum, { digest, sizeBytes }) => {
        const blob = swarm.swarmOf(peer, blobKeyOf({ digest: digest as Digest, origin }));
        const share = blob === undefined ? 0 : (blob.parts.get(peer)?.havePieces ?? 0) / blob.pieces;
        return sum + share * sizeBytes;
      }, 0),
    findSnapshot: (registry, root, platform) => {
      const known = control.snapshots.known(registry, root, platform);
      if (known === undefined) return null;
      const sizeBytes = known.blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0);
      return { layout: known.layout, sizeBytes, found: 'cluster' };
    },
  };
}
