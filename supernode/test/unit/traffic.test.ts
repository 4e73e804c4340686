import { generateKeyPairSync } from 'node:crypto';
import { type HeartbeatMessage, type PeerId, peerIdOf } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { Traffic } from '../../src/traffic/traffic.ts';

const [A, B, C] = ['a', 'b', 'c'].map(() => peerIdOf(generateKeyPairSync('ed25519').privateKey)) as [
  PeerId,
  PeerId,
  PeerId,
];
const beat = (more: object): HeartbeatMessage =>
  ({
    uploads: 0,
    upstreamBytes: 0n,
    receivedBytes: 0n,
    sentBytes: 0n,
    feeds: [],
    starts: [],
    ...more,
  }) as never;

test('what hosts move is added up from what they say since they were first heard, also when one begins anew', () => {
  const traffic = new Traffic();
  traffic.beat(A, 'host-a', beat({ upstreamBytes: 1_000n, receivedBytes: 500n }), 0, 0);
  traffic.beat(A, 'host-a', beat({ upstreamBytes: 3_000n, receivedBytes: 4_500n }), 2_000, 2_000);
  expect(traffic).toMatchObject({ upstreamBytes: 2_000, peerBytes: 4_000 });
  expect(traffic.ratesOf(A)).toMatchObject({ upstreamBytesPerSecond: 1_000, receivedBytesPerSecond: 2_000 });
  expect(traffic.sample(3_000)).toEqual({
    atMs: 3_000,
    upstreamBytesPerSecond: 1_000,
    peerBytesPerSecond: 2_000,
  });
  traffic.beat(A, 'host-a', beat({ upstreamBytes: 10n }), 4_000, 4_000);
  expect(traffic.upstreamBytes).toBe(2_000);
  traffic.beat(A, 'host-a', beat({ upstreamBytes: 110n }), 5_000, 5_000);
  expect(traffic.upstreamBytes).toBe(2_100);
  traffic.left(A);
  expect(traffic.sample(6_000).upstreamBytesPerSecond).toBe(0);
});

test('feeds are those of the last heartbeat, the largest first', () => {
  const traffic = new Traffic();
  traffic.beat(B, 'host-b', beat({}), 0, 0);
  traffic.beat(
    B,
    'host-b',
    beat({
      feeds: [
        { peer: A, bytes: 100n },
        { peer: C, bytes: 900n },
        { peer: 'nobody', bytes: 2_000n },
      ],
    }),
    1_000,
    0,
  );
  expect(traffic.feeds(1)).toEqual([{ from: C, to: B, bytesPerSecond: 900 }]);
  traffic.beat(B, 'host-b', beat({}), 2_000, 0);
  expect(traffic.feeds(10)).toEqual([]);
});

test('starts are counted by how long they took', () => {
  const traffic = new Traffic();
  const starts = [10, 60, 60, 40_000].map((totalMs) => ({ image: 'app:1', found: 'cluster', totalMs }));
  traffic.beat(A, 'host-a', beat({ starts }), 0, 7);
  const seen = traffic.starts();
  expect(seen).toMatchObject({ count: 4, p50Ms: 60, p99Ms: 40_000 });
  expect(seen.buckets.filter(({ count }) => count > 0)).toEqual([
    { toMs: 25, count: 1 },
    { toMs: 100, count: 2 },
    { toMs: null, count: 1 },
  ]);
  expect(seen.recent[0]).toMatchObject({ host: 'host-a', totalMs: 40_000, atMs: 7 });
});

test('what no host can move stays a number that can be added to', () => {
  const traffic = new Traffic();
  const most = 2n ** 64n - 1n;
  for (let round = 0; round < 20; round += 1) {
    const peer = peerIdOf(generateKeyPairSync('ed25519').privateKey);
    traffic.beat(peer, 'liar', beat({}), 0, 0);
    const feeds = [{ peer: A, bytes: most }];
    traffic.beat(peer, 'liar', beat({ upstreamBytes: most, receivedBytes: most, feeds }), 100, 0);
  }
  expect(traffic.upstreamBytes).toBe(Number.MAX_SAFE_INTEGER);
  expect(traffic.sample(0)).toMatchObject({ peerBytesPerSecond: Number.MAX_SAFE_INTEGER });
  expect(traffic.feeds(1)[0]?.bytesPerSecond).toBe(2 ** 50 / 0.1);
});
