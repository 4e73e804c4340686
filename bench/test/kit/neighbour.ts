/**
 * A program that is heard on the local network as daemons are, and is no member: it shows a membership of somebody else, says that it
 * has a blob, and asks whoever it hears for that. What others make of it goes to stdout, a JSON line each.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { loadSwarm } from '@drakkar/daemon';
import {
  type BlobName,
  encodeBlobName,
  type HaveMessage,
  HaveMessageSchema,
  type HostPort,
  type PeerId,
} from '@drakkar/protocol';
import { Channel, HAVE_PROTOCOL, type PeerStream, startNode } from '@drakkar/wire';

export interface NeighbourOrders {
  readonly address: string;
  readonly blob: BlobName;
  readonly sizeBytes: number;
  readonly pieces: number;
  /** Of a member. */
  readonly membership: string;
}

/** `found`: a peer is heard. `asked`: one opens a stream. `told`: one has said which pieces it has. `called`: one asks for pieces. */
export type NeighbourReport = {
  readonly event: 'found' | 'asked' | 'told' | 'called';
  readonly peer: string;
};

const OPEN_MS = 5_000;

const orders = JSON.parse(process.argv[2] ?? '{}') as NeighbourOrders;
const say = (report: NeighbourReport) => process.stdout.write(`${JSON.stringify(report)}\n`);

const { certificateFor } = await loadSwarm();
const { privateKey } = generateKeyPairSync('ed25519');
const { certificate, key } = await certificateFor(privateKey);
const server = createServer(
  { cert: certificate, key, requestCert: true, rejectUnauthorized: false },
  (request, response) => {
    say({ event: 'called', peer: request.socket.remoteAddress ?? '' });
    response.end();
  },
);
await new Promise<void>((resolve) => server.listen(0, orders.address, resolve));
const dataAddress = `${orders.address}:${(server.address() as AddressInfo).port}`;
const node = await startNode({ key: privateKey, listen: [{ host: orders.address, port: 0 }], mdns: true });

/** Says all that it has to say, and listens. */
async function talk({ stream, peer }: PeerStream): Promise<void> {
  const channel = new Channel(stream, HaveMessageSchema, HaveMessageSchema);
  const { blob, sizeBytes, pieces, membership } = orders;
  const open = { version: 1, membership, ...encodeBlobName(blob), sizeBytes: BigInt(sizeBytes), dataAddress };
  channel.send({ message: { case: 'open', value: open } });
  const index = Array.from({ length: pieces }, (_, piece) => piece);
  channel.send({ message: { case: 'pieces', value: { index, sha256: randomBytes(32 * pieces) } } });
  for (;;) {
    const heard: HaveMessage | undefined = await channel.receive();
    if (heard === undefined) return;
    if (heard.message.case === 'pieces') say({ event: 'told', peer });
  }
}

async function ask(peer: PeerId, addresses: readonly HostPort[]): Promise<void> {
  say({ event: 'found', peer });
  await talk(await node.open(peer, addresses, HAVE_PROTOCOL, AbortSignal.timeout(OPEN_MS)));
}

await node.handle(HAVE_PROTOCOL, async (stream) => {
  say({ event: 'asked', peer: stream.peer });
  await talk(stream);
});
node.onNeighbour((peer, addresses) => {
  // Whoever hangs up has the right to.
  ask(peer, addresses).catch(() => {});
});
