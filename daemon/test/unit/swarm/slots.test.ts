import type { PeerId } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type SlotRequest, Slots } from '../../../src/swarm/slots.ts';

const peer = (name: string) => name as PeerId;

/** A request, and whether it was its turn. */
function request(name: string): SlotRequest & { begun: number } {
  const made = {
    peer: peer(name),
    begun: 0,
    begin: () => {
      made.begun += 1;
    },
  };
  return made;
}

test('serves so many at a time, and the others in the order in which they came', () => {
  const slots = new Slots(2, () => {});
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(request);
  if (a === undefined || b === undefined || c === undefined || d === undefined)
    throw new Error('unreachable');
  expect([a, b, c, d].map((each) => slots.take(each))).toEqual([true, true, true, true]);
  expect([a, b, c, d].map(({ begun }) => begun)).toEqual([1, 1, 0, 0]);
  expect(slots.take(request('e'))).toBe(false);
  slots.give(a);
  expect(c.begun).toBe(1);
  slots.give(d);
  slots.give(b);
  expect([d.begun, slots.taken]).toEqual([0, 1]);
});

test('lets no peer have more than its part', () => {
  const slots = new Slots(100, () => {});
  const taken = Array.from({ length: 20 }, () => slots.take(request('greedy')));
  expect(taken.filter(Boolean)).toHaveLength(8);
  expect(slots.take(request('modest'))).toBe(true);
});

test('says when many wait, and when nobody does any more', () => {
  const said: boolean[] = [];
  const slots = new Slots(2, (isPressed) => said.push(isPressed));
  const requests = ['a', 'b', 'c', 'd'].map(request);
  for (const each of requests) slots.take(each);
  expect(said).toEqual([true]);
  for (const each of requests.slice(0, 2)) slots.give(each);
  expect(said).toEqual([true, false]);
});

test('whoever comes and goes, serves no more than it may and nobody twice, and keeps nobody waiting for nothing', () => {
  const event = fc.record({ isNew: fc.boolean(), which: fc.nat(30) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(event, { maxLength: 80 }), (limit, events) => {
      const slots = new Slots(limit, () => {});
      const here: ReturnType<typeof request>[] = [];
      for (const { isNew, which } of events) {
        if (isNew) {
          const made = request(`peer ${which}`);
          if (slots.take(made)) here.push(made);
        } else {
          for (const gone of here.splice(which % Math.max(1, here.length), 1)) slots.give(gone);
        }
        const served = here.filter(({ begun }) => begun === 1).length;
        expect(here.every(({ begun }) => begun <= 1)).toBe(true);
        expect(served).toBe(Math.min(limit, here.length));
        expect(slots.taken).toBe(served);
      }
    }),
  );
});
