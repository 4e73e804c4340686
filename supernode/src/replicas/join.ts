import type { Duplex } from 'node:stream';
import { DrakkarError, parseSupernodeAddress } from '@drakkar/protocol';
import { API_PROTOCOL, type ControlNode, duplexOf } from '@drakkar/wire';
import type { Logger } from 'pino';
import packageDocument from '../../package.json' with { type: 'json' };
import { Forwarded } from '../api/index.ts';
import type { Control } from '../control/control.ts';
import type { Leadership } from '../leadership.ts';
import type { Authority } from '../members/authority.ts';
import type { Members } from '../members/members.ts';
import type { StateStore } from '../state/index.ts';
import type { SharedKeys } from './keys.ts';
import { Replicas } from './replicas.ts';

export interface JoinModules {
  readonly state: StateStore;
  readonly node: ControlNode;
  /** Where this one is reached. */
  readonly address: string;
  readonly control: Control;
  readonly leadership: Leadership;
  readonly members: Members;
  readonly authority: Authority;
  readonly shared: SharedKeys;
  readonly log: Logger;
}

const OPEN_MS = 5_000;

/** Takes part among the supernodes of one state: tells hosts of all of them, leads where it is its turn, and takes over what the others write. */
export async function joinOthers(modules: JoinModules): Promise<Replicas> {
  const { state, node, address, control, leadership, members, authority, shared, log } = modules;
  await using stack = new AsyncDisposableStack();
  const self = { peer: node.peer, address, version: packageDocument.version };
  const hosts = () => control.swarm.hosts.size;
  const replicas = stack.use(
    new Replicas(
      { state, self, hosts, requireState: () => shared.requireThere(), log },
      {
        changed: () => control.tellSupernodes(replicas.list(), replicas.revision),
        leads: (fence) => void leadership.begin(fence),
        follows: () => void leadership.end(),
        ends: () => leadership.end(),
      },
    ),
  );
  const forwarded = new Forwarded(leadership.handle);
  await node.handle(API_PROTOCOL, async (stream) => {
    if (!(await replicas.has(stream.peer)))
      throw new DrakkarError('forbidden', `${stream.peer} is no supernode`);
    forwarded.serve(duplexOf(stream));
  });
  members.follow({
    revoked: (peer) => control.revoke(peer),
    quarantined: (all) => control.quarantined(all),
    changed: async () => {
      await shared.pull();
      const before = authority.clusterKey;
      await authority.reload();
      const last = authority.successions.at(-1);
      if (authority.clusterKey !== before && last !== undefined) control.announceKey(last);
    },
    failed: (error) => log.warn({ error }, 'what another supernode has written of hosts is not known yet'),
  });
  await replicas.start();
  stack.move();
  return replicas;
}

/** To pass on to who leads what was asked here. @throws `unavailable` where nobody is known to lead */
export async function streamToLeader(node: ControlNode, replicas: Replicas | undefined): Promise<Duplex> {
  const leader = replicas?.leader;
  const replica = leader === undefined || leader === node.peer ? undefined : replicas?.find(leader);
  if (replica === undefined) throw new DrakkarError('unavailable', 'nobody leads at the moment');
  const { peer, at } = parseSupernodeAddress(replica.address);
  return duplexOf(await node.open(peer, [at], API_PROTOCOL, AbortSignal.timeout(OPEN_MS)));
}
