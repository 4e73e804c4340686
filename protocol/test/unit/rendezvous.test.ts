import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, ownerOf, type PeerId } from '../../src/index.ts';

const PEERS = ['12D3KooWAlpha', '12D3KooWBravo', '12D3KooWCharlie', '12D3KooWDelta'] as PeerId[];

describe('whose a digest is', () => {
  test('all say the same, in whatever order they know the peers', () => {
    fc.assert(
      fc.property(fc.string(), fc.shuffledSubarray(PEERS, { minLength: 1 }), (key, peers) => {
        expect(ownerOf(key, peers)).toBe(ownerOf(key, [...peers].sort()));
      }),
    );
  });

  test('only what was its own moves when a peer goes', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(...PEERS), (key, gone) => {
        const before = ownerOf(key, PEERS);
        const after = ownerOf(
          key,
          PEERS.filter((peer) => peer !== gone),
        );
        if (before !== gone) expect(after).toBe(before);
        else expect(after).not.toBe(gone);
      }),
    );
  });

  test('each has about as much as the others', () => {
    const digests = Array.from({ length: 4_000 }, (_, index) => digestOf(`blob ${index}`));
    for (const peer of PEERS) {
      const own = digests.filter((digest) => ownerOf(digest, PEERS) === peer);
      expect(own.length).toBeGreaterThan(850);
      expect(own.length).toBeLessThan(1_150);
    }
  });

  test('nobody has anything where nobody is', () => {
    expect(ownerOf('anything', [])).toBeUndefined();
  });
});
