import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import {
  type BlobName,
  digestOf,
  type PeerId,
  parseJoinToken,
  parseSupernodeAddress,
  rawOf,
} from '@drakkar/protocol';
import { HAVE_PROTOCOL, startNode } from '@drakkar/wire';
import { pino } from 'pino';
import { HaveSession } from '../../src/swarm/have-session.ts';
import { STANDING_FILE, Standing } from '../../src/swarm/standing.ts';
import { Supernodes } from '../../src/swarm/supernodes.ts';
import type { Cluster } from './cluster.ts';

/** A member that says of every piece of a blob that it has it, and that it hashes to something else. */
export interface Liar extends AsyncDisposable {
  readonly peer: PeerId;
  /** Streams about the blob that others have opened. */
  readonly asked: number;
}

export async function startLiar(
  { join: { supernode, joinToken } }: Cluster,
  name: BlobName,
  sizeBytes: number,
  pieces: number,
): Promise<Liar> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryDirectory('liar'));
  const log = pino({ level: 'silent' });
  const listen = [{ host: '127.0.0.1', port: 0 }];
  const node = stack.use(await startNode({ key: generateKeyPairSync('ed25519').privateKey, listen }));
  const token = parseJoinToken(joinToken);
  const standing = await Standing.open(join(path, STANDING_FILE), node.peer, token, log);
  stack.defer(() => standing.saved());
  const address = `127.0.0.1:${node.port}`;
  const link = stack.use(
    new Supernodes({
      addresses: [parseSupernodeAddress(supernode)],
      host: {
        name: 'liar',
        dataAddress: address,
        controlAddress: address,
        labels: {},
        uploadSlots: 8,
        roles: [],
      },
      node,
      standing,
      joinSecret: token.secret,
      log,
      events: {
        advice: () => {},
        task: () => {},
        cancelTask: () => {},
        revoked: () => {},
        named: () => {},
        found: () => {},
        changed: () => {},
        complete: () => [{ name, sizeBytes, pieces }],
        figures: () => ({ beat: () => ({ uploads: 0 }), [Symbol.dispose]: () => {} }),
      },
    }),
  );
  let asked = 0;
  await node.handle(HAVE_PROTOCOL, async (stream) => {
    asked += 1;
    const session = new HaveSession(stream);
    await session.opening();
    const { membership } = standing;
    session.open({ blob: name, sizeBytes, membership, grant: '', dataAddress: address, labels: {} });
    const sha256 = rawOf(digestOf('a lie'));
    session.begin(pieces, { conversations: 1, pieces: () => {}, choked: () => {} });
    session.announce(Array.from({ length: pieces }, (_, piece) => ({ piece, sha256 })));
    await session.run();
  });
  link.start();
  while (!link.isUp) await new Promise((resolve) => setTimeout(resolve, 5));
  const running = stack.move();
  return {
    peer: node.peer,
    get asked() {
      return asked;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
