import { generateKeyPairSync } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { loadSwarm } from '@drakkar/daemon';
import {
  type BlobName,
  type Digest,
  encodeBlobName,
  FromDaemonSchema,
  FromSupernodeSchema,
  HaveMessageSchema,
  type PeerId,
  parseJoinToken,
  parseSupernodeAddress,
  rawOf,
} from '@drakkar/protocol';
import { Channel, HAVE_PROTOCOL, type PeerStream, SUPERNODE_PROTOCOL, startNode } from '@drakkar/wire';

/** A member that has a complete copy of a blob, as it says, and does what a test wants with it. */
export interface EvilPeer extends AsyncDisposable {
  readonly peer: PeerId;
  /** Requests for pieces that it was sent. */
  requests: number;
}

export interface EvilBlob {
  readonly name: BlobName;
  readonly content: Buffer;
  readonly pieceLength: number;
  /** What it says that each piece hashes to. */
  readonly claims: readonly Buffer[];
}

export interface EvilOptions {
  readonly join: { readonly supernode: string; readonly joinToken: string };
  readonly blob: EvilBlob;
  /** What it does with a request for pieces. */
  readonly answer: (
    response: ServerResponse,
    range: { start: number; end: number },
    request: IncomingMessage,
  ) => void;
  /** What it says that names mean. */
  readonly names?: readonly { readonly key: Digest; readonly digest: Digest; readonly sizeBytes: number }[];
  /** Instead of the truth about its pieces: what it writes to the stream of a child. */
  readonly have?: (stream: PeerStream) => Promise<void>;
}

/** For tests: joins a cluster with its token, announces the blob and waits for victims. */
export async function startEvilPeer({
  join,
  blob,
  answer,
  have,
  names = [],
}: EvilOptions): Promise<EvilPeer> {
  await using stack = new AsyncDisposableStack();
  const { certificateFor } = await loadSwarm();
  const { privateKey } = generateKeyPairSync('ed25519');
  const node = stack.use(await startNode({ key: privateKey, listen: [{ host: '127.0.0.1', port: 0 }] }));
  const { certificate, key } = await certificateFor(privateKey);
  const evil: { peer: PeerId; requests: number } = { peer: node.peer, requests: 0 };
  const server = createServer(
    { cert: certificate, key, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      evil.requests += 1;
      const [, first, last] = /pieces\/([0-9]+)-([0-9]+)/.exec(request.url ?? '') ?? [];
      const start = Number(first) * blob.pieceLength;
      const end = Math.min((Number(last) + 1) * blob.pieceLength, blob.content.length);
      answer(response, { start, end }, request);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const dataAddress = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  let membership = '';

  await node.handle(HAVE_PROTOCOL, have ?? ((stream) => tellOf(stream, blob, membership, dataAddress)));
  const { at, peer } = parseSupernodeAddress(join.supernode);
  const stream = await node.open(peer, [at], SUPERNODE_PROTOCOL, AbortSignal.timeout(5_000));
  const channel = new Channel(stream.stream, FromDaemonSchema, FromSupernodeSchema);
  stack.defer(() => channel.close());
  channel.send({
    message: {
      case: 'hello',
      value: {
        version: 1,
        joinSecret: parseJoinToken(join.joinToken).secret,
        name: 'evil',
        dataAddress,
        controlAddresses: [`127.0.0.1:${node.port}`],
        uploadSlots: 8,
      },
    },
  });
  const welcome = await channel.receive();
  if (welcome?.message.case !== 'welcome') throw new Error('the supernode lets no evil in');
  membership = welcome.message.value.membership;
  const pieces = blob.claims.length;
  channel.send({
    message: {
      case: 'have',
      value: {
        blob: encodeBlobName(blob.name),
        sizeBytes: BigInt(blob.content.length),
        pieces,
        havePieces: pieces,
      },
    },
  });
  for (const { key: name, digest, sizeBytes } of names) {
    const value = { key: rawOf(name), digest: rawOf(digest), sizeBytes: BigInt(sizeBytes) };
    channel.send({ message: { case: 'name', value } });
  }
  const heartbeat = setInterval(
    () => channel.send({ message: { case: 'heartbeat', value: { uploads: 0 } } }),
    1_000,
  );
  stack.defer(() => clearInterval(heartbeat));
  const running = stack.move();
  return Object.assign(evil, { [Symbol.asyncDispose]: () => running.disposeAsync() });
}

/** The have stream of a peer that has everything. */
async function tellOf(
  { stream }: PeerStream,
  { name, content, claims }: EvilBlob,
  membership: string,
  dataAddress: string,
): Promise<void> {
  const channel = new Channel(stream, HaveMessageSchema, HaveMessageSchema);
  channel.send({
    message: {
      case: 'open',
      value: {
        version: 1,
        membership,
        ...encodeBlobName(name),
        sizeBytes: BigInt(content.length),
        dataAddress,
      },
    },
  });
  channel.send({
    message: {
      case: 'pieces',
      value: { index: claims.map((_, piece) => piece), sha256: Buffer.concat(claims) },
    },
  });
  while ((await channel.receive()) !== undefined);
}
