import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSubdomain, pathOf } from '../../../src/cluster/path.ts';

describe('a path', () => {
  test('has each part as one segment, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        const path = pathOf`/api/v1/namespaces/${name}/secrets/${name}`;
        expect(path.split('/').map(decodeURIComponent)).toEqual([
          '',
          'api',
          'v1',
          'namespaces',
          name,
          'secrets',
          name,
        ]);
        expect(path).not.toMatch(/[?#]/);
      }),
    );
  });
});

describe('a name', () => {
  test.each(['a', 'regcred', 'my.registry-2', 'a'.repeat(253)])('may be %s', (name) => {
    expect(isSubdomain(name)).toBe(true);
  });

  test.each([
    '',
    '.',
    '..',
    '../../b/secrets/regcred',
    'a/b',
    'A',
    '-a',
    'a.',
    'a..b',
    'a%2fb',
    'a'.repeat(254),
  ])('is not %s', (name) => {
    expect(isSubdomain(name)).toBe(false);
  });
});
