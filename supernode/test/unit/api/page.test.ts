import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hostOrder, page } from '../../../src/api/routes/cluster.ts';

const hosts = fc
  .uniqueArray(
    fc.record({
      name: fc.string({ unit: 'grapheme', maxLength: 5 }),
      peer: fc.stringMatching(/^[A-Za-z1-9]{1,3}$/),
    }),
    {
      maxLength: 20,
      selector: ({ name, peer }) => `${name}\0${peer}`,
    },
  )
  .map((all) => all.sort(hostOrder.compare));

test('pages of hosts show each once, and go on where hosts have gone meanwhile', () => {
  fc.assert(
    fc.property(hosts, fc.integer({ min: 1, max: 7 }), fc.boolean(), (all, limit, doGo) => {
      let left = all;
      const shown: unknown[] = [];
      for (let after: string | undefined; ; ) {
        const { items, next } = page(left, hostOrder, after, limit);
        shown.push(...items);
        expect(items.length).toBeLessThanOrEqual(limit);
        if (next === null) break;
        expect(next).toMatch(/^[!-~]+$/);
        after = next;
        if (doGo) left = left.filter((host) => !items.includes(host));
      }
      expect(shown).toEqual(all);
    }),
  );
});

test('what is no place in the list is refused', () => {
  expect(() => page([], hostOrder, '12D3KooW', 1)).toThrow(/next/);
});
