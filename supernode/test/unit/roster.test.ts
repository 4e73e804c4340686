import { type PeerId, peerIdFromRaw } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mayServe, type Replica, Roster } from '../../src/replicas/roster.ts';

const LEASE_MS = 4_000;

const peer = (number: number): PeerId => peerIdFromRaw(Buffer.alloc(32, number));
const replica = (number: number, more: Partial<Replica> = {}): Replica => ({
  ...{ peer: peer(number), address: `10.0.0.${number}:4001/${peer(number)}`, version: '1.0.0' },
  ...{ startedAtMs: 0, serving: true, hosts: 0, ...more },
});
const numbers = (roster: Roster) => roster.list().map(({ address }) => /\.(\d+):/.exec(address)?.[1]);

describe('who is there', () => {
  test('is whose lease was read last, and says when that has changed', () => {
    const roster = new Roster(LEASE_MS);
    expect(roster.read([replica(2), replica(1)], 0)).toBe(true);
    expect(roster.list().map(({ peer: of }) => of)).toEqual([peer(1), peer(2)].sort());
    expect(roster.read([replica(1), replica(2, { hosts: 7 })], 1_000)).toBe(false);
    expect(roster.get(peer(2))?.hosts).toBe(7);
    expect(roster.read([replica(1)], 2_000)).toBe(true);
    expect(numbers(roster)).toEqual(['1']);
    expect(roster.read([replica(1, { serving: false })], 3_000)).toBe(true);
  });

  test('is nobody less while nothing can be read, and until all have had the time to say that they are there', () => {
    const roster = new Roster(LEASE_MS);
    roster.read([replica(1), replica(2)], 0);
    roster.failed();
    expect(roster.isSure(60_000)).toBe(false);
    expect(roster.list()).toHaveLength(2);
    roster.read([replica(1)], 60_000);
    expect(roster.isSure(60_000)).toBe(false);
    expect(roster.list()).toHaveLength(2);
    roster.read([replica(1), replica(3)], 61_000);
    expect(roster.list()).toHaveLength(3);
    roster.read([replica(1), replica(3)], 60_000 + LEASE_MS);
    expect(roster.isSure(60_000 + LEASE_MS)).toBe(true);
    expect(roster.list()).toHaveLength(2);
  });

  test('never lacks one whose lease was read within its time, whatever fails', () => {
    const events = fc.array(
      fc.record({ afterMs: fc.integer({ min: 1, max: 3_000 }), fails: fc.boolean(), isThere: fc.boolean() }),
      { maxLength: 50 },
    );
    fc.assert(
      fc.property(events, (all) => {
        const roster = new Roster(LEASE_MS);
        let nowMs = 0;
        let sureUntilReadAtMs = 0;
        let isBlind = false;
        let expected = false;
        for (const { afterMs, fails, isThere } of all) {
          nowMs += afterMs;
          if (fails) {
            isBlind = true;
            roster.failed();
          } else {
            if (isBlind) sureUntilReadAtMs = nowMs + LEASE_MS;
            isBlind = false;
            expected = isThere || (expected && nowMs < sureUntilReadAtMs);
            roster.read(isThere ? [replica(1)] : [], nowMs);
          }
          expect(roster.get(peer(1)) !== undefined).toBe(expected);
        }
      }),
    );
  });
});

describe('one that has begun', () => {
  const self = replica(1, { serving: false, startedAtMs: 1_000 });

  test('takes its part at once where nobody else does', () => {
    expect(mayServe(self, [], 1_000)).toBe(true);
    expect(mayServe(self, [replica(2, { serving: false, hosts: 500 })], 1_000)).toBe(true);
  });

  test('waits for nine tenths of the hosts, but not for ever', () => {
    const others = [replica(2, { hosts: 100 }), replica(3, { hosts: 60 })];
    expect(mayServe({ ...self, hosts: 89 }, others, 2_000)).toBe(false);
    expect(mayServe({ ...self, hosts: 90 }, others, 2_000)).toBe(true);
    expect(mayServe(self, others, 1_000 + 2 * 60_000)).toBe(true);
  });

  test('keeps its part when its hosts go', () => {
    expect(mayServe({ ...self, serving: true }, [replica(2, { hosts: 100 })], 2_000)).toBe(true);
  });
});
