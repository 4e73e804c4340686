import { fixedCut, type PeerId } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { AskedParent, Asking } from '../../../src/swarm/asking.ts';
import { PiecePicker } from '../../../src/swarm/picker.ts';

const MEBIBYTE = 1024 * 1024;
const [SELF, A, B] = ['self', 'a', 'b'] as PeerId[] as [PeerId, PeerId, PeerId];
const upTo = (count: number) => Array.from({ length: count }, (_, piece) => piece);

/** A host that lacks a blob, and parents that have all of it. */
function start(pieces: number, parents: readonly PeerId[]) {
  const cut = fixedCut(pieces * MEBIBYTE);
  const picker = new PiecePicker(cut.pieceCount, [], SELF);
  const asking = new Asking<AskedParent>(cut, picker);
  for (const peer of parents) {
    asking.parents.set(peer, new AskedParent(peer));
    picker.parentHas(peer, upTo(pieces));
  }
  const asked: { peer: PeerId; pieces: readonly number[] }[] = [];
  const schedule = (nowMs = 0) =>
    asking.schedule(nowMs, (parent, wanted) => {
      asking.began(parent);
      asked.push({ peer: parent.peer, pieces: wanted });
      return true;
    });
  return {
    picker,
    asking,
    asked,
    schedule,
    parent: (peer: PeerId) => asking.parents.get(peer) as AskedParent,
  };
}

test('asks every parent of which nothing is known for one piece, and no piece twice', () => {
  const { asked, schedule } = start(100, [A, B]);
  schedule();
  expect(asked.map(({ peer }) => peer)).toEqual([A, B]);
  expect(new Set(asked.flatMap(({ pieces }) => pieces)).size).toBe(2);
});

test('asks a fast parent for more at a time', () => {
  const { asked, schedule, parent } = start(100, [A, B]);
  parent(A).throughput.add(MEBIBYTE, 1);
  parent(B).throughput.add(MEBIBYTE, 1_000);
  schedule();
  const of = (peer: PeerId) => asked.filter((each) => each.peer === peer).length;
  expect(of(A)).toBe(4);
  expect(of(B)).toBe(1);
});

test('asks neither who chokes nor who rests, and says when there is more to ask for later', () => {
  const { asked, schedule, parent } = start(10, [A, B]);
  parent(A).choked(true, 0);
  parent(B).refused(0, 0);
  expect(schedule(0)).toBe(true);
  expect(asked).toEqual([]);
  schedule(1_000);
  expect(asked.map(({ peer }) => peer)).toEqual([B]);
});

test('asks at once for what a reader waits for, of the parent that will be first', () => {
  const { picker, asked, schedule, parent } = start(100, [A, B]);
  parent(A).throughput.add(MEBIBYTE, 500);
  parent(B).throughput.add(MEBIBYTE, 5);
  picker.urge(77);
  schedule();
  expect(asked[0]).toEqual({ peer: B, pieces: [77] });
});

test('may ask again for what came to nothing', () => {
  const { asking, asked, schedule, parent } = start(1, [A]);
  schedule();
  schedule();
  expect(asked).toHaveLength(1);
  asking.ended(parent(A), [0]);
  schedule();
  expect(asked).toHaveLength(2);
});

test('gives up who fails again and again', () => {
  const parent = new AskedParent(A);
  expect(upTo(4).map(() => parent.failed(0))).toEqual([false, false, false, true]);
  parent.answered();
  expect(parent.failed(0)).toBe(false);
});
