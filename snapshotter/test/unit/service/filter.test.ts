import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseFilters } from '../../../src/service/filter.ts';

const snapshot: Readonly<Record<string, string>> = {
  name: 'k8s.io/1/extract-1',
  kind: 'active',
  'labels.containerd.io/snapshot.ref': 'sha256:abc',
  'labels.a': 'x,y z',
  'labels.tab': 'a\tb"c',
};
const matches = (...filters: string[]) => parseFilters(filters)((path) => snapshot[path.join('.')]);

describe('containerd’s filters', () => {
  test('of which any must match, and of none everything does', () => {
    expect(matches()).toBe(true);
    expect(matches('')).toBe(true);
    expect(matches('kind==view', 'kind==active')).toBe(true);
    expect(matches('kind==view', 'name==other')).toBe(false);
  });

  test.each([
    ['labels."containerd.io/snapshot.ref"==sha256:abc', true],
    ['labels."containerd.io/snapshot.ref"=="sha256:abc",parent==', false],
    ['labels."containerd.io/snapshot.ref"=="sha256:abc",kind==active', true],
    ['labels."containerd.io/snapshot.ref"==sha256:abd', false],
    ['name!=other', true],
    ['parent!=other', true],
    ['parent', false],
    ['labels.a', true],
    [`labels.a=='x,y z'`, true],
    ['labels.tab=="a\\tb\\x22c"', true],
    ['name~=^k8s', true],
    ['name~=/extract-\\d$/', true],
    ['name~=|/2/|', false],
    [' kind == active , name ', true],
  ])('%s', (filter, isMatch) => {
    if (filter.endsWith('parent==')) expect(() => matches(filter)).toThrow('ends too early');
    else expect(matches(filter)).toBe(isMatch);
  });

  test.each([
    '==x',
    'kind=active',
    'kind==',
    'labels.',
    'a b',
    'a,',
    '"open',
    'a=="\\q"',
    'name~=(',
    'a=='.padEnd(20_000, 'x'),
  ])('refuse %j', (filter) => {
    expect(() => matches(filter)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });

  test('find a label whatever it is called and whatever it says', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (name, value) => {
        const filter = parseFilters([`labels.${goString(name)}==${goString(value)}`]);
        expect(filter((path) => (path.length === 2 && path[1] === name ? value : undefined))).toBe(true);
        expect(filter(() => `${value}.`)).toBe(false);
      }),
    );
  });

  test('are parsed or refused, whatever they are', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseFilters([text])(() => 'x');
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_argument' });
        }
      }),
    );
  });
});

function goString(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}
