import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRange } from '../../src/get/range.ts';
import { nameFromUrl } from '../../src/get/target.ts';

describe('where a file is written without -o', () => {
  test.each([
    ['https://example.com/a/model.bin', 'model.bin'],
    ['https://example.com/a/my%20model.bin?x=/y#z', 'my model.bin'],
    ['https://example.com/%E0%A4%A', '%E0%A4%A'],
  ])('%s: %s', (url, name) => {
    expect(nameFromUrl(url)).toBe(name);
  });

  test.each([
    'https://example.com',
    'https://example.com/a/',
    'https://example.com/..%2f..%2fetc%2fpasswd',
    'https://example.com/a%00b',
    'nonsense',
  ])('%j says no name', (url) => {
    expect(() => nameFromUrl(url)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });

  test('is a file of the directory itself, whatever the URL', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (url) => {
        let name: string;
        try {
          name = nameFromUrl(url);
        } catch {
          return;
        }
        expect(name).not.toMatch(/[/\0]|^\.{0,2}$/);
      }),
    );
  });
});

describe('a range', () => {
  test('has both its ends, as in HTTP', () => {
    expect(parseRange('0-0')).toEqual({ startBytes: 0, endBytes: 1 });
    expect(parseRange('5-')).toEqual({ startBytes: 5, endBytes: undefined });
  });

  test.each(['', '-', '-5', '5', '5-4', '1-2-3', 'a-b', '0x1-2'])('%j is none', (text) => {
    expect(() => parseRange(text)).toThrow(/no range of bytes/);
  });
});
