import type { PeerId } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { ReceiptCounter } from '../../../src/content/index.ts';

const peer = (name: string) => name as PeerId;

function clock() {
  const time = { ms: 0 };
  return { time, receipt: new ReceiptCounter(() => time.ms) };
}

describe('a receipt', () => {
  test('tells where the bytes came from, and what each host gave, the largest share first', () => {
    const { receipt } = clock();
    receipt.fromStore(1);
    receipt.fromUpstream(20);
    receipt.fromPeer(peer('A'), 'host-a', 300);
    receipt.fromPeer(peer('B'), null, 4000);
    receipt.fromPeer(peer('A'), 'host-a', 1000);
    expect(receipt.summary()).toMatchObject({
      storeBytes: 1,
      upstreamBytes: 20,
      peerBytes: 5300,
      discardedBytes: 0,
      peers: [
        { peer: 'B', name: null, bytes: 4000 },
        { peer: 'A', name: 'host-a', bytes: 1300 },
      ],
    });
  });

  test('knows when the first byte came, from whatever source, and no time where none did', () => {
    const { receipt, time } = clock();
    expect(receipt.summary().firstByteMs).toBeNull();
    time.ms = 70;
    receipt.fromPeer(peer('A'), null, 1);
    time.ms = 90;
    receipt.fromStore(1);
    expect(receipt.summary().firstByteMs).toBe(70);
  });

  test('counts pauses and requests that were given up as stalls, and the time before the first byte as none', () => {
    const { receipt, time } = clock();
    time.ms = 60_000;
    receipt.fromUpstream(1);
    time.ms += 1_999;
    receipt.fromUpstream(1);
    time.ms += 2_000;
    receipt.fromUpstream(1);
    receipt.stalled();
    expect(receipt.summary().stalls).toBe(2);
  });

  test('counts a part of the request where that was of use, at the pace of the whole', () => {
    const { receipt, time } = clock();
    const [kept, wrong] = [receipt.part(), receipt.part()];
    time.ms = 5;
    kept.fromPeer(peer('A'), null, 10);
    time.ms = 3_000;
    wrong.fromPeer(peer('B'), null, 30);
    wrong.fromUpstream(5);
    wrong.discarded(1);
    wrong.stalled();
    expect(receipt.summary()).toMatchObject({ peerBytes: 0, peers: [], firstByteMs: 5, stalls: 2 });
    receipt.add(kept);
    receipt.addDiscarded(wrong);
    expect(receipt.summary()).toMatchObject({
      upstreamBytes: 0,
      peerBytes: 10,
      discardedBytes: 36,
      peers: [{ peer: 'A', bytes: 10 }],
    });
  });

  test('names so many hosts, and counts the bytes of all', () => {
    const { receipt } = clock();
    for (let each = 0; each < 100; each += 1) receipt.fromPeer(peer(`host ${each}`), null, 1);
    expect(receipt.summary().peerBytes).toBe(100);
    expect(receipt.summary().peers).toHaveLength(64);
  });
});
