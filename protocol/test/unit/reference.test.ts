import { digestOf, formatReference, parseReference } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const digest = digestOf('x');

describe('an image reference', () => {
  test.each([
    ['debian', 'docker.io/library/debian:latest'],
    ['debian:12', 'docker.io/library/debian:12'],
    ['index.docker.io/user/app', 'docker.io/user/app:latest'],
    ['registry-1.docker.io/library/debian', 'docker.io/library/debian:latest'],
    ['ghcr.io/a/b/c:v1', 'ghcr.io/a/b/c:v1'],
    ['localhost/app', 'localhost/app:latest'],
    ['127.0.0.1:5000/app:x', '127.0.0.1:5000/app:x'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    [`debian@${digest}`, `docker.io/library/debian@${digest}`],
    [`ghcr.io/a/b:v1@${digest}`, `ghcr.io/a/b:v1@${digest}`],
  ])('%s is %s', (text, canonical) => {
    expect(formatReference(parseReference(text))).toBe(canonical);
    expect(formatReference(parseReference(canonical))).toBe(canonical);
  });

  test.each([
    '',
    'UPPER',
    'a//b',
    '/a',
    'a/',
    'a:',
    'a:b:c',
    'a@sha256:1',
    'a b',
    'ghcr.io/',
    '-a',
    'a:-x',
    `${'a'.repeat(300)}`,
    'ghcr.io/../x',
    '127.0.0.1:999999/x',
  ])('%j is refused with what to write instead', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });

  test('any text is a reference or a clear refusal', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'abAB01.:/@-_[] \n'), maxLength: 40 }), (text) => {
        try {
          const canonical = formatReference(parseReference(text));
          expect(formatReference(parseReference(canonical))).toBe(canonical);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_argument' });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
