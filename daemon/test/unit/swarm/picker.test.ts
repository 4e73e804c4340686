import { type PeerId, peerIdFromRaw } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PiecePicker, SuperSeed } from '../../../src/swarm/index.ts';

const peer = (number: number): PeerId => {
  const raw = Buffer.alloc(32);
  raw.writeUInt32BE(number);
  return peerIdFromRaw(raw);
};
const [A, B, C] = [peer(1), peer(2), peer(3)];
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe('the piece picker', () => {
  test('takes what a reader waits for, then the prefetch list, then the rarest', () => {
    const picker = new PiecePicker(6, [0], peer(1));
    picker.parentHas(A, upTo(6));
    picker.parentHas(B, [1, 2, 3, 4]);
    picker.urge(4);
    picker.prefetch([2, 0]);
    expect([picker.pick(A), picker.pick(A), picker.pick(A)]).toEqual([4, 2, 5]);
    expect(picker.pick(C)).toBeUndefined();
  });

  test('asks again for a piece that failed, and for those of a parent that has gone', () => {
    const picker = new PiecePicker(2, [], peer(1));
    picker.parentHas(A, [0]);
    picker.parentHas(B, [0, 1]);
    expect(picker.pick(A)).toBe(0);
    picker.failed(0, A);
    expect(picker.pick(A)).toBe(0);
    picker.parentGone(A);
    expect(new Set([picker.pick(B), picker.pick(B)])).toEqual(new Set([0, 1]));
  });

  test('asks a second parent for what is slow only when nothing else is left', () => {
    const picker = new PiecePicker(2, [], peer(1));
    picker.parentHas(A, [0, 1]);
    picker.parentHas(B, [0, 1]);
    picker.parentHas(C, [0, 1]);
    const first = picker.pick(A);
    const second = picker.pick(B);
    expect(new Set([first, second])).toEqual(new Set([0, 1]));
    expect(picker.pick(C)).toBe(first);
    expect(picker.pick(C)).toBe(second);
    expect(picker.pick(C)).toBeUndefined();
    expect(picker.arrived(first ?? 0)).toEqual([A, C]);
  });

  test('asks in different orders for different children', () => {
    const orders = [1, 2, 3].map((seed) => {
      const picker = new PiecePicker(50, [], peer(seed));
      picker.parentHas(A, upTo(50));
      return upTo(50)
        .map(() => picker.pick(A))
        .join();
    });
    expect(new Set(orders).size).toBe(3);
  });

  test('leaves to others what they are to bring from far away, unless it loses patience', () => {
    const [near, far] = [B, C];
    const picked = [A, near].map((self) => {
      const picker = new PiecePicker(100, [], self);
      picker.enter(self === A ? near : A, 1);
      picker.enter(far, 2);
      picker.parentHas(far, upTo(100));
      const mine = upTo(100).flatMap(() => picker.pick(far) ?? []);
      return { picker, mine };
    });
    const [one, other] = picked;
    expect(new Set([...(one?.mine ?? []), ...(other?.mine ?? [])]).size).toBe(100);
    expect((one?.mine.length ?? 0) + (other?.mine.length ?? 0)).toBe(100);
    expect(one?.mine.length).toBeGreaterThan(25);
    expect(one?.picker.pick(far, false)).toBeDefined();
    one?.picker.leave(near);
    expect(one?.picker.pick(far)).toBeDefined();
  });

  test('asks far away for what a reader waits for, whoever is to bring it', () => {
    const picker = new PiecePicker(20, [], A);
    picker.enter(B, 0);
    picker.enter(C, 1);
    picker.parentHas(C, upTo(20));
    while (picker.pick(C) !== undefined);
    const left = upTo(20).find((piece) => picker.take(C, piece)) ?? 0;
    picker.failed(left, C);
    picker.urge(left);
    expect(picker.pick(C)).toBe(left);
  });

  test('gives everything to everybody in the end, whomever of the others each knows', () => {
    const hosts = fc.integer({ min: 2, max: 7 });
    const links = fc.array(fc.tuple(fc.nat(6), fc.nat(6)), { maxLength: 20 });
    const racks = fc.array(fc.nat(2), { minLength: 7, maxLength: 7 });
    fc.assert(
      fc.property(hosts, links, racks, (count, extra, rackOf) => {
        const pieces = 12;
        const pickers = upTo(count).map(
          (host) => new PiecePicker(pieces, host === 0 ? upTo(pieces) : [], peer(host)),
        );
        // Everybody is joined to the first by some way.
        const edges = [...upTo(count - 1).map((host) => [host + 1, host] as const), ...extra];
        for (const [one, other] of edges) {
          if (one === other) continue;
          const away = rackOf[one] === rackOf[other] ? 1 : 4;
          pickers[one]?.enter(peer(other), away);
          pickers[other]?.enter(peer(one), away);
        }
        let isPatient = true;
        while (pickers.some(({ missing }) => missing > 0)) {
          let gained = 0;
          for (const [one, other] of [...edges, ...edges.map(([a, b]) => [b, a] as const)]) {
            const [child, parent] = [pickers[one], pickers[other]];
            if (child === undefined || parent === undefined || one === other) continue;
            child.parentHas(
              peer(other),
              upTo(pieces).filter((piece) => parent.has(piece)),
            );
            const piece = child.pick(peer(other), isPatient);
            if (piece === undefined) continue;
            child.arrived(piece);
            gained += 1;
          }
          expect(gained > 0 || isPatient).toBe(true);
          isPatient = gained > 0;
        }
      }),
    );
  });

  test('whatever happens, gets every piece that anybody has, each asked of at most two', () => {
    const event = fc.record({
      what: fc.constantFrom('has', 'gone', 'pick', 'failed', 'arrived', 'urge'),
      parent: fc.constantFrom(A, B, C),
      piece: fc.nat(12),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), fc.nat(), (events, seed) => {
        const picker = new PiecePicker(10, [], peer(seed));
        const asked = new Map<number, PeerId[]>();
        for (const { what, parent, piece } of events) {
          if (what === 'has') picker.parentHas(parent, [piece]);
          else if (what === 'urge') picker.urge(piece);
          else if (what === 'gone') {
            picker.parentGone(parent);
            for (const [one, parents] of asked)
              asked.set(
                one,
                parents.filter((other) => other !== parent),
              );
          } else if (what === 'pick') {
            const picked = picker.pick(parent);
            if (picked === undefined) continue;
            expect(picker.has(picked)).toBe(false);
            const parents = [...(asked.get(picked) ?? []), parent];
            expect(new Set(parents).size).toBe(parents.length);
            expect(parents.length).toBeLessThanOrEqual(2);
            asked.set(picked, parents);
          } else if (what === 'failed' && asked.get(piece)?.includes(parent)) {
            picker.failed(piece, parent);
            asked.set(piece, asked.get(piece)?.filter((other) => other !== parent) ?? []);
          } else if (what === 'arrived' && piece < 10) {
            picker.arrived(piece);
            asked.delete(piece);
          }
        }
        picker.parentGone(A);
        picker.parentHas(A, upTo(10));
        for (;;) {
          const piece = picker.pick(A);
          if (piece === undefined) break;
          picker.arrived(piece);
        }
        const left = upTo(10).filter((piece) => !picker.has(piece));
        expect(left.every((piece) => asked.get(piece)?.length === 2)).toBe(true);
        expect(picker.missing).toBe(left.length);
        expect(picker.usefulPieces(A)).toBe(left.length);
      }),
    );
  });
});

describe('beside picking', () => {
  test('a piece is claimed for the registry once, in order', () => {
    const picker = new PiecePicker(4, [1], peer(0));
    picker.parentHas(A, [0]);
    expect(picker.pick(A)).toBe(0);
    expect(picker.claim(B)).toBe(2);
    expect(picker.claim(B, 3)).toBe(3);
    expect(picker.claim(B)).toBeUndefined();
    picker.failed(2, B);
    expect(picker.claim(B)).toBe(2);
  });

  test('a certain piece is asked of a parent that has it, if nobody was asked', () => {
    const picker = new PiecePicker(3, [], peer(0));
    picker.parentHas(A, [0, 1]);
    expect(picker.take(A, 0)).toBe(true);
    expect(picker.take(A, 0)).toBe(false);
    expect(picker.take(A, 2)).toBe(false);
    expect(picker.take(A, 3)).toBe(false);
  });

  test('a late piece is asked of a second parent while others are missing', () => {
    const picker = new PiecePicker(3, [], peer(0));
    picker.parentHas(A, [0]);
    picker.parentHas(B, [0]);
    expect(picker.pick(A)).toBe(0);
    expect(picker.pick(B)).toBeUndefined();
    picker.hedge(0);
    expect(picker.pick(B)).toBe(0);
    expect(picker.arrived(0).sort()).toEqual([A, B].sort());
  });
});

describe('super-seeding', () => {
  test('shows each piece to one child, and goes on when it was passed on', () => {
    const seed = new SuperSeed(6, 2, 0);
    for (const child of [A, B]) seed.enter(child);
    seed.gained(upTo(6));
    const shown = seed.next();
    expect([...shown.values()].flat().sort()).toEqual([0, 1, 2, 3]);
    const [own = 0] = shown.get(A) ?? [];
    seed.seenAt(A, [own]);
    expect(seed.next().size).toBe(0);
    seed.seenAt(B, [own]);
    expect(seed.next().get(A)).toHaveLength(1);
    expect(seed.isHeldBack(own)).toBe(true);
  });

  test('does not wait for others where there are none', () => {
    const seed = new SuperSeed(3, 1, 0);
    seed.enter(A);
    seed.gained([0, 1]);
    expect(seed.next()).toEqual(new Map([[A, [0]]]));
    seed.seenAt(A, [0]);
    expect(seed.next()).toEqual(new Map([[A, [1]]]));
  });

  test('shows everybody everything when nobody passes anything on, though there is room on the link', () => {
    const seed = new SuperSeed(4, 1, 0);
    for (const child of [A, B]) seed.enter(child);
    seed.gained(upTo(4));
    seed.next();
    expect(seed.mayRelease(5_000, 2, 8)).toBe(false);
    expect(seed.mayRelease(5_500, 1, 8)).toBe(false);
    expect(seed.mayRelease(6_000, 1, 8)).toBe(true);
    expect(seed.release().sort()).toEqual([0, 1, 2, 3]);
    expect(seed.heldBack).toBe(0);
    expect(seed.next().size).toBe(0);
  });

  test('holds nothing back once all of it has left', () => {
    const seed = new SuperSeed(2, 1, 0);
    for (const child of [A, B]) seed.enter(child);
    seed.gained(upTo(2));
    seed.next();
    expect(seed.mayRelease(10, 0, 8)).toBe(false);
    seed.seenAt(A, [0, 1]);
    seed.seenAt(B, [0, 1]);
    expect(seed.mayRelease(10, 0, 8)).toBe(true);
    seed.release();
    expect(seed.mayRelease(10, 0, 8)).toBe(false);
  });

  test('whoever comes and goes, every piece is shown to somebody who is there, or at somebody', () => {
    const event = fc.record({
      what: fc.constantFrom('enter', 'leave', 'gained', 'seen'),
      child: fc.constantFrom(A, B, C),
      piece: fc.nat(9),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const seed = new SuperSeed(10, 100, 0);
        const here = new Set<PeerId>();
        const shownTo = new Map<number, PeerId>();
        const seen = new Set<number>();
        const gained = new Set<number>();
        for (const { what, child, piece } of events) {
          if (what === 'enter') {
            seed.enter(child);
            here.add(child);
          } else if (what === 'leave') {
            seed.leave(child);
            here.delete(child);
            for (const [one, other] of shownTo) if (other === child) shownTo.delete(one);
          } else if (what === 'gained') {
            seed.gained([piece]);
            gained.add(piece);
          } else {
            seed.seenAt(child, [piece]);
            seen.add(piece);
          }
          for (const [to, pieces] of seed.next()) {
            expect(here.has(to)).toBe(true);
            for (const one of pieces) shownTo.set(one, to);
          }
        }
        if (here.size === 0) return;
        for (const piece of gained) expect(seen.has(piece) || shownTo.has(piece)).toBe(true);
      }),
    );
  });
});
