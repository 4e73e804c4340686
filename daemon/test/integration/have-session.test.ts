import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { HAVE_PROTOCOL, startNode } from '@drakkar/wire';
import { expect, test, vi } from 'vitest';
import { HaveSession, type KnownPiece } from '../../src/swarm/have-session.ts';

const PIECES = 40;
/** With so many, a peer that knows of six pieces it lacks has enough. */
const NEIGHBOURS = 8;
const known = (piece: number): KnownPiece => ({ piece, sha256: randomBytes(32) });
const newKey = () => generateKeyPairSync('ed25519').privateKey;

/** Both ends of a stream, and what the second has heard, message by message. */
async function startPair() {
  await using stack = new AsyncDisposableStack();
  const listener = stack.use(await startNode({ key: newKey(), listen: [{ host: '127.0.0.1', port: 0 }] }));
  const caller = stack.use(await startNode({ key: newKey(), listen: [] }));
  const arrived = Promise.withResolvers<HaveSession>();
  await listener.handle(HAVE_PROTOCOL, async (stream) => {
    const session = new HaveSession(stream);
    session.begin(PIECES, {
      conversations: 1,
      pieces: (_, pieces) => heard.push(pieces.map(({ piece }) => piece)),
      choked: () => {},
    });
    arrived.resolve(session);
    await session.run();
  });
  const heard: number[][] = [];
  const at = [{ host: '127.0.0.1', port: listener.port }];
  const stream = await caller.open(listener.peer, at, HAVE_PROTOCOL, AbortSignal.timeout(10_000));
  const teller = new HaveSession(stream);
  teller.begin(PIECES, { conversations: NEIGHBOURS, pieces: () => {}, choked: () => {} });
  void teller.run().catch(() => {});
  // The stream is there for the other side with the first message.
  teller.choke(false);
  const running = stack.move();
  return {
    teller,
    hearer: await arrived.promise,
    heard,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

test('a peer hears of every piece, of those beyond what it needs at the moment many at a time', async () => {
  await using pair = await startPair();
  for (let piece = 0; piece < 6; piece += 1) {
    pair.teller.announce([known(piece)]);
    await vi.waitFor(() => expect(pair.heard.flat()).toContain(piece));
  }
  for (let piece = 6; piece < PIECES; piece += 1) {
    pair.teller.announce([known(piece)]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await vi.waitFor(() => expect(pair.heard.flat()).toHaveLength(PIECES), 10_000);
  expect(pair.heard.length).toBeLessThan(PIECES / 2);
});

test('a peer that has caught up is told of what waits', async () => {
  await using pair = await startPair();
  pair.teller.announce(Array.from({ length: 10 }, (_, piece) => known(piece)));
  await vi.waitFor(() => expect(pair.heard.flat()).toHaveLength(10));
  pair.teller.announce([known(10)]);
  pair.hearer.announce(Array.from({ length: 10 }, (_, piece) => known(piece)));
  await vi.waitFor(() => expect(pair.heard.flat()).toContain(10), 10_000);
});
