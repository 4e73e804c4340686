import { randomBytes } from 'node:crypto';
import { DrakkarError, fixedCut, tableCut } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PieceCutter } from '../../../src/content/cutter.ts';
import { piecesOf, rangeFrom } from '../../../src/content/pieces/ranges.ts';
import { Wants } from '../../../src/content/pieces/wants.ts';
import { newReceipt } from '../../../src/content/receipt.ts';
import { cutBlob } from '../../kit/cut-blob.ts';

const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 });

test('bytes in whatever parts become the pieces that they are', () => {
  fc.assert(
    fc.property(lengths, fc.nat(), fc.array(fc.integer({ min: 1, max: 500 })), (all, at, parts) => {
      const blob = cutBlob(all);
      const cut = tableCut(blob.named.table);
      const first = at % all.length;
      const cutter = new PieceCutter(cut, first);
      const made: number[] = [];
      let rest = blob.bytes.subarray(cut.start(first));
      for (const size of [...parts, rest.length]) {
        for (const { piece, buffers, sha256 } of cutter.take(rest.subarray(0, size))) {
          made.push(piece);
          expect(Buffer.concat(buffers).equals(blob.piece(piece))).toBe(true);
          expect(sha256.equals(Buffer.from(cut.sha256(piece) ?? []))).toBe(true);
        }
        rest = rest.subarray(size);
      }
      expect(made).toEqual(piecesOf({ first, last: all.length - 1 }));
    }),
  );
});

test('what comes behind the last piece is none', () => {
  const cut = fixedCut(10);
  const cutter = new PieceCutter(cut, 0);
  expect([...cutter.take(randomBytes(25))].map(({ piece }) => piece)).toEqual([0]);
});

test('a range holds a piece and its wanted neighbours, and is no longer than it may be', () => {
  fc.assert(
    fc.property(lengths, fc.nat(), fc.nat(2000), fc.array(fc.nat(19)), (all, at, mostBytes, wanted) => {
      const cut = tableCut(cutBlob(all).named.table);
      const first = at % all.length;
      const range = rangeFrom(cut, first, mostBytes, (piece) => wanted.includes(piece));
      expect(range.first).toBe(first);
      for (const piece of piecesOf(range).slice(1)) expect(wanted).toContain(piece);
      if (range.last > first) expect(cut.end(range.last) - cut.start(first)).toBeLessThanOrEqual(mostBytes);
      const next = range.last + 1;
      const isToo = next < cut.pieceCount && wanted.includes(next);
      if (isToo) expect(cut.end(next) - cut.start(first)).toBeGreaterThan(mostBytes);
    }),
  );
});

const NEVER = new AbortController().signal;
const refused = new DrakkarError('unavailable', 'nobody gives it');
const order = (wants: Wants) => [...wants.inOrder('urgent', 'soon', 'rest')].map(({ piece }) => piece);

describe('who wants what', () => {
  test('the most urgent first; what becomes more urgent goes before what was less', () => {
    const wants = new Wants();
    const want = (pieces: readonly number[], urgency: 'urgent' | 'soon' | 'rest', nowMs: number) =>
      void wants.wait(pieces, urgency, newReceipt(), nowMs, NEVER, () => {});
    want([7, 1], 'rest', 0);
    want([3, 2, 1], 'soon', 1);
    want([2], 'urgent', 2);
    want([2], 'rest', 3);
    expect(order(wants)).toEqual([2, 3, 1, 7]);
    expect(wants.get(2)?.sinceMs).toBe(2);
  });

  test('each waits for its own, and the first of them counts what comes', async () => {
    const wants = new Wants();
    const [first, second] = [newReceipt(), newReceipt()];
    const one = wants.wait([1, 2], 'soon', first, 0, NEVER, () => {});
    const other = wants.wait([2], 'urgent', second, 0, NEVER, () => {});
    expect(wants.arrived(2, 10)).toBe(first);
    await other;
    expect(second.summary().joinedBytes).toBe(10);
    expect(wants.size).toBe(1);
    wants.arrived(1, 5);
    await one;
    expect(wants.arrived(1, 5)).toBeUndefined();
  });

  test('one that cannot be had fails those that wait for it; the others of theirs are wanted all the same', async () => {
    const wants = new Wants();
    const one = wants.wait([1, 2], 'soon', newReceipt(), 0, NEVER, () => {});
    const other = wants.wait([2], 'soon', newReceipt(), 0, NEVER, () => {});
    wants.failed(1, refused);
    await expect(one).rejects.toBe(refused);
    expect(order(wants)).toEqual([2]);
    wants.arrived(2, 1);
    await other;
  });

  test('what nobody waits for any more is dropped', async () => {
    const wants = new Wants();
    const leaving = new AbortController();
    const dropped: number[] = [];
    const one = wants.wait([1, 2], 'soon', newReceipt(), 0, leaving.signal, (pieces) => {
      dropped.push(...pieces);
    });
    const other = wants.wait([2], 'soon', newReceipt(), 0, NEVER, () => {});
    leaving.abort(new DrakkarError('cancelled', 'it left'));
    await expect(one).rejects.toMatchObject({ code: 'cancelled' });
    expect(dropped).toEqual([1]);
    expect(order(wants)).toEqual([2]);
    wants.failAll(refused);
    await expect(other).rejects.toBe(refused);
    expect(wants.size).toBe(0);
  });
});
