import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRoute, routeHref } from '../../../console/src/route.ts';

test('without a word one is at the overview', () => {
  for (const hash of ['', '#', '#/'])
    expect(parseRoute(hash)).toEqual({ page: 'overview', id: null, query: {} });
});

test('leads back to where one was, whatever things are called', () => {
  const query = fc.dictionary(
    fc.stringMatching(/^[a-z]{1,5}$/),
    fc.string({ minLength: 1, unit: 'grapheme' }),
    {
      noNullPrototype: true,
    },
  );
  fc.assert(
    fc.property(fc.option(fc.string({ minLength: 1, unit: 'grapheme' })), query, (id, search) => {
      expect(parseRoute(routeHref('hosts', { id, query: search }))).toEqual({
        page: 'hosts',
        id,
        query: search,
      });
    }),
  );
});

test('what is broken is taken as it stands', () => {
  expect(parseRoute('#/jobs/%zz').id).toBe('%zz');
});
