import type { HeartbeatMessage, PeerId } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { Traffic } from '../../src/traffic/traffic.ts';

const [A, B] = ['a', 'b'] as [PeerId, PeerId];
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
        { peer: 'c', bytes: 900n },
      ],
    }),
    1_000,
    0,
  );
  expect(traffic.feeds(1)).toEqual([{ from: 'c', to: B, bytesPerSecond: 900 }]);
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
