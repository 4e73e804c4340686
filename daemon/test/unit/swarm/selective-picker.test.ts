import { type PeerId, peerIdFromRaw } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PiecePicker } from '../../../src/swarm/index.ts';
import type { Urgency } from '../../../src/urgency.ts';

const peer = (number: number): PeerId => {
  const raw = Buffer.alloc(32);
  raw.writeUInt32BE(number);
  return peerIdFromRaw(raw);
};
const [A, B, SELF] = [peer(1), peer(2), peer(3)];
const PIECES = 10;
const ALL = Array.from({ length: PIECES }, (_, piece) => piece);
const selective = (have: readonly number[] = []) => new PiecePicker(PIECES, have, SELF, true);

describe('a picker of what is wanted alone', () => {
  test('asks for nothing that nobody wants', () => {
    const picker = selective();
    picker.parentHas(A, ALL);
    expect(picker.pick(A)).toBeUndefined();
    expect(picker.take(A, 3)).toBe(false);
    expect(picker.usefulPieces(A)).toBe(0);
    picker.want([3], 'soon');
    expect(picker.usefulPieces(A)).toBe(1);
    expect(picker.pick(A)).toBe(3);
    expect(picker.pick(A)).toBeUndefined();
  });

  test('asks for what is urgent, then for what is wanted soon, then for the rest, each in its order', () => {
    const picker = selective([0]);
    picker.parentHas(A, ALL);
    picker.want([9, 2, 7], 'rest');
    picker.want([5, 0, 4, 2], 'soon');
    picker.want([8], 'urgent');
    picker.want([4], 'urgent');
    picker.want([8], 'rest');
    expect(ALL.map(() => picker.pick(A))).toEqual([8, 4, 5, 2, 9, 7, ...Array(4).fill(undefined)]);
  });

  test('asks nobody twice, but for what is late', () => {
    const picker = selective();
    for (const parent of [A, B]) picker.parentHas(parent, ALL);
    picker.want([1], 'urgent');
    expect(picker.pick(A)).toBe(1);
    expect(picker.pick(B)).toBeUndefined();
    picker.hedge(1);
    expect(picker.pick(B)).toBe(1);
    picker.drop([1]);
    picker.failed(1, A);
    picker.failed(1, B);
    expect(picker.pick(A)).toBeUndefined();
  });

  test('knows what peers have and nobody wants, the rarest first', () => {
    const picker = selective([0]);
    picker.parentHas(A, [0, 1, 2, 3]);
    picker.parentHas(B, [1, 2, 4]);
    picker.want([4], 'soon');
    expect(picker.rest().slice(0, 1)).toEqual([3]);
    expect(picker.rest().toSorted()).toEqual([1, 2, 3]);
  });

  test('whatever happens, asks for wanted and missing pieces alone, the urgent before others', () => {
    const event = fc.record({
      what: fc.constantFrom('has', 'gone', 'pick', 'failed', 'arrived', 'urgent', 'soon', 'rest', 'drop'),
      parent: fc.constantFrom(A, B),
      piece: fc.nat(PIECES + 1),
    });
    const urgencies: readonly Urgency[] = ['urgent', 'soon', 'rest'];
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const picker = selective();
        const wanted = new Map<number, Urgency>();
        for (const { what, parent, piece } of events) {
          if (what === 'has') picker.parentHas(parent, [piece]);
          else if (what === 'gone') picker.parentGone(parent);
          else if (what === 'failed') picker.failed(piece, parent);
          else if (what === 'arrived') {
            picker.arrived(piece);
            wanted.delete(piece);
          } else if (what === 'drop') {
            picker.drop([piece]);
            wanted.delete(piece);
          } else if (what === 'pick') {
            const before = ALL.filter((each) => picker.isAsked(each));
            const picked = picker.pick(parent);
            if (picked === undefined) continue;
            expect(picker.has(picked)).toBe(false);
            expect(before).not.toContain(picked);
            const rank = urgencies.indexOf(wanted.get(picked) ?? 'urgent');
            expect(wanted.has(picked)).toBe(true);
            for (const [other, urgency] of wanted) {
              if (urgencies.indexOf(urgency) >= rank || before.includes(other)) continue;
              expect(picker.hasOf(parent, other)).toBe(false);
            }
          } else {
            picker.want([piece], what);
            if (piece >= PIECES || picker.has(piece)) continue;
            const known = urgencies.indexOf(wanted.get(piece) ?? 'rest');
            wanted.set(piece, urgencies[Math.min(known, urgencies.indexOf(what))] ?? what);
          }
        }
        picker.parentHas(A, ALL);
        const left = [...wanted.keys()].filter((piece) => !picker.isAsked(piece));
        expect(new Set(ALL.flatMap(() => picker.pick(A) ?? []))).toEqual(new Set(left));
      }),
    );
  });
});
