import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Announcements } from '../../../src/swarm/announcements.ts';

/** With so many each can wait that knows of two pieces. */
const OTHERS = 24;

const upTo = (count: number) => Array.from({ length: count }, (_, piece) => piece);

test('the first pieces are said at once, each once', () => {
  const announcements = new Announcements(10);
  expect(announcements.delayMs(1)).toBeUndefined();
  announcements.add([3, 4, 3]);
  expect(announcements.delayMs(1)).toBe(0);
  expect(announcements.take()).toEqual([3, 4]);
  announcements.add([4]);
  expect(announcements.delayMs(1)).toBeUndefined();
});

test('who knows of enough that it lacks hears of more later, the more others there are the less it needs', () => {
  const announcements = new Announcements(100);
  announcements.add([0]);
  announcements.take();
  announcements.add([1]);
  const soonMs = announcements.delayMs(48) ?? Number.NaN;
  announcements.take();
  announcements.add([2]);
  const laterMs = announcements.delayMs(48) ?? Number.NaN;
  expect(laterMs).toBeGreaterThan(10 * soonMs);
  announcements.heard([0, 1]);
  expect(announcements.delayMs(48)).toBe(soonMs);
});

test('of pieces of which many come at a time it hears when there are as many as there are others to tell', () => {
  const announcements = new Announcements(100);
  announcements.add(upTo(50));
  announcements.take();
  announcements.add([50, 51, 52]);
  const laterMs = announcements.delayMs(4) ?? Number.NaN;
  announcements.add([53]);
  expect(announcements.delayMs(4)).toBeLessThan(laterMs / 10);
});

test('what it has already is no reason to hurry', () => {
  const announcements = new Announcements(100);
  announcements.add([0]);
  announcements.take();
  announcements.heard([1, 2]);
  announcements.add([1, 2]);
  expect(announcements.delayMs(1)).toBeGreaterThan(10);
});

test('whatever is added and heard in whatever order, every piece is said once, and what is lacked is counted right', () => {
  const event = fc.record({ what: fc.constantFrom('add', 'heard', 'take'), piece: fc.nat(11) });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const announcements = new Announcements(12);
      const [added, theirs, said] = [new Set<number>(), new Set<number>(), [] as number[]];
      for (const { what, piece } of events) {
        if (what === 'add') {
          announcements.add([piece]);
          added.add(piece);
        } else if (what === 'heard') {
          announcements.heard([piece]);
          theirs.add(piece);
        } else {
          said.push(...announcements.take());
        }
        const waiting = [...added].filter((each) => !said.includes(each));
        const lacked = said.filter((each) => !theirs.has(each));
        const delayMs = announcements.delayMs(OTHERS);
        expect(delayMs === undefined).toBe(waiting.length === 0);
        if (delayMs === undefined || said.length === 0) continue;
        const wanted = waiting.filter((each) => !theirs.has(each)).length;
        const isHungry = lacked.length < 2 && wanted > 0;
        expect(delayMs < 10).toBe(isHungry || wanted >= OTHERS || delayMs === 0);
      }
      said.push(...announcements.take());
      expect(said.toSorted((a, b) => a - b)).toEqual(upTo(12).filter((piece) => added.has(piece)));
    }),
  );
});
