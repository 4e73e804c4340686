import { generateKeyPairSync } from 'node:crypto';
import {
  type Digest,
  decodeBlobName,
  FromDaemonSchema,
  FromSupernodeSchema,
  type PeerId,
  parseJoinToken,
  parseSupernodeAddress,
} from '@drakkar/protocol';
import { Channel, type ControlNode, type PeerStream, SUPERNODE_PROTOCOL, startNode } from '@drakkar/wire';
import type { Fleet } from '../../src/fleet/fleet.ts';

/** A member that says to the supernode, or to whom it wants, what a test has it say. */
export interface BareMember extends AsyncDisposable {
  readonly peer: PeerId;
  readonly membership: string;
  readonly node: ControlNode;
  readonly supernode: Channel<typeof FromDaemonSchema, typeof FromSupernodeSchema>;
  /** Whom the supernode names at the moment, by digest. */
  readonly candidates: Map<Digest, readonly string[]>;
  /** Another stream to the supernode. */
  open(): Promise<PeerStream>;
}

const OPENED_MS = 10_000;
const HEARTBEAT_MS = 1_000;

export async function joinFleet({ join }: Pick<Fleet, 'join'>): Promise<BareMember> {
  await using stack = new AsyncDisposableStack();
  const node = stack.use(await startNode({ key: generateKeyPairSync('ed25519').privateKey, listen: [] }));
  const { at, peer } = parseSupernodeAddress(join.supernode);
  const open = () => node.open(peer, [at], SUPERNODE_PROTOCOL, AbortSignal.timeout(OPENED_MS));
  const supernode = new Channel((await open()).stream, FromDaemonSchema, FromSupernodeSchema);
  stack.defer(() => supernode.close());
  supernode.send({ message: helloOf(join) });
  const welcome = await supernode.receive(AbortSignal.timeout(OPENED_MS));
  if (welcome?.message.case !== 'welcome') throw new Error('the supernode does not let this member in');
  const candidates: BareMember['candidates'] = new Map();
  const heartbeat = setInterval(
    () => supernode.send({ message: { case: 'heartbeat', value: { uploads: 0 } } }),
    HEARTBEAT_MS,
  );
  stack.defer(() => clearInterval(heartbeat));
  void (async () => {
    for (;;) {
      const said = await supernode.receive().catch(() => undefined);
      if (said === undefined) return;
      if (said.message.case !== 'candidates') continue;
      const { blob, peers } = said.message.value;
      candidates.set(
        decodeBlobName(blob).digest,
        peers.map(({ peer }) => peer),
      );
    }
  })();
  const { membership } = welcome.message.value;
  const running = stack.move();
  return {
    peer: node.peer,
    membership,
    node,
    supernode,
    candidates,
    open,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

export const helloOf = ({ joinToken }: Fleet['join']) => ({
  case: 'hello' as const,
  value: {
    version: 1,
    joinSecret: parseJoinToken(joinToken).secret,
    name: 'bare',
    dataAddress: '127.0.0.1:1',
    controlAddresses: ['127.0.0.1:1'],
    uploadSlots: 8,
  },
});
