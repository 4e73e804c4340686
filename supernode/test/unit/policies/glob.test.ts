import { isDrakkarError, parseReference } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  GLOB_LIMITS,
  type GlobImage,
  matches,
  measure,
  namesTag,
  parseGlob,
  placesOf,
} from '../../../src/policies/glob.ts';

const image = (text: string): GlobImage => {
  const { registry, repository, tag = null } = parseReference(text);
  return { registry, repository, tag };
};
const fits = (pattern: string, text: string): boolean => matches(parseGlob(pattern), image(text));

const UNTAGGED = `ghcr.io/team/app@sha256:${'0'.repeat(64)}`;

describe('a glob', () => {
  test.each([
    ['ghcr.io/team/app', 'ghcr.io/team/app:1', true],
    ['ghcr.io/team/app', 'ghcr.io/team/app/api:1', false],
    ['ghcr.io/team/app:1', 'ghcr.io/team/app:1', true],
    ['ghcr.io/team/app:1', 'ghcr.io/team/app:10', false],
    ['ghcr.io/team/*', 'ghcr.io/team/app', true],
    ['ghcr.io/team/*', 'ghcr.io/team/app/api', false],
    ['ghcr.io/team/*', 'ghcr.io/teams/app', false],
    ['ghcr.io/team/app*', 'ghcr.io/team/app', true],
    ['ghcr.io/*/app', 'ghcr.io/team/app', true],
    ['ghcr.io/te?m/a??', 'ghcr.io/team/app', true],
    ['ghcr.io/team?app', 'ghcr.io/team/app', false],
    ['*/team/app', 'ghcr.io/team/app', true],
    ['*.io/team/app', 'ghcr.io/team/app', true],
    ['localhost:*/app', 'localhost:5000/app', true],
    ['[::1]:5000/app', '[::1]:5000/app', true],
    ['ghcr.io/**', 'ghcr.io/team/app/api', true],
    ['ghcr.io/team/**', 'ghcr.io/team/app', true],
    ['ghcr.io/team/**', 'ghcr.io/team', false],
    ['ghcr.io/**/app', 'ghcr.io/a/b/app', true],
    ['ghcr.io/**/app', 'ghcr.io/app', true],
    ['ghcr.io/**/app', 'ghcr.io/myapp', false],
    ['**/app', 'ghcr.io/team/app', true],
    ['**', 'debian', true],
    ['ghcr.io/team/{app,web}', 'ghcr.io/team/web', true],
    ['ghcr.io/team/{app,web}', 'ghcr.io/team/db', false],
    ['ghcr.io/team/app{,-{dev,test}}', 'ghcr.io/team/app', true],
    ['ghcr.io/team/app{,-{dev,test}}', 'ghcr.io/team/app-test', true],
    ['{ghcr.io/team,quay.io/**}/app', 'quay.io/a/b/app', true],
    ['{ghcr.io/team/app:v*,debian}', 'debian:12', true],
    ['ghcr.io/team/app:{v*,latest}', 'ghcr.io/team/app', true],
    ['ghcr.io/team/app:v?.?', 'ghcr.io/team/app:v1.2', true],
    ['ghcr.io/team/app:v?.?', 'ghcr.io/team/app:v1.20', false],
    ['**:latest', 'ghcr.io/team/app', true],
    ['ghcr.io/team/app', UNTAGGED, true],
    ['ghcr.io/team/app:*', UNTAGGED, false],
  ])('%s is asked for %s: %j', (pattern, text, expected) => {
    expect(fits(pattern, text)).toBe(expected);
  });

  test.each([
    ['debian', 'docker.io/library/debian'],
    ['debian:12', 'docker.io/library/debian:12'],
    ['deb*', 'docker.io/library/debian'],
    ['library/*', 'docker.io/library/debian'],
    ['team/app', 'docker.io/team/app'],
    ['te*/app', 'docker.io/team/app'],
    ['{team,ghcr.io/team}/app', 'docker.io/team/app'],
    ['docker.io/debian', 'docker.io/library/debian'],
    ['docker.io/*', 'docker.io/library/debian'],
    ['docker.io/**', 'docker.io/team/app'],
    ['index.docker.io/team/*', 'docker.io/team/app'],
    ['*/team/app', 'docker.io/team/app'],
  ])('%s means Docker Hub where a reference would: %s', (pattern, text) => {
    expect(fits(pattern, text)).toBe(true);
  });

  test.each([
    ['team/*', 'ghcr.io/team/app'],
    ['deb*', 'docker.io/debian/app'],
    ['localhost/app', 'docker.io/localhost/app'],
  ])('%s is not %s', (pattern, text) => {
    expect(fits(pattern, text)).toBe(false);
  });

  test.each([
    ['', 0, /empty/],
    ['a'.repeat(GLOB_LIMITS.characters + 1), GLOB_LIMITS.characters, /512 characters/],
    ['/a', 0, /empty segment/],
    ['a//b', 2, /empty segment/],
    ['ghcr.io/', 7, /empty segment/],
    ['a/{b,}', 1, /empty segment/],
    ['a/b:', 3, /colon/],
    ['a/b:c:d', 5, /colon/],
    ['a/b:c/d', 3, /colon/],
    [':latest', 0, /no repository/],
    ['*', 0, /write \*\*/],
    ['team/**app', 5, /whole/],
    ['team/***', 5, /whole/],
    ['team/app:**', 9, /whole/],
    ['a/{b', 2, /nothing closes/],
    ['a/b}', 3, /nothing has opened/],
    ['a,b', 1, /outside of braces/],
    ['{a,{b,{c,d}}}', 6, /2 deep/],
    ['x/{a,b}{a,b}{a,b}{a,b}{a,b}', 2, /16 patterns/],
    [`{${'a,'.repeat(16)}a}`, 0, /16 patterns/],
    ['a/[ab]', 2, /no image has/],
    ['[x]/a', 0, /address/],
    ['a b', 1, /no image has/],
    ['a@sha256:0', 1, /no image has/],
  ])('%j is refused at %i', (pattern, at, why) => {
    expect(() => parseGlob(pattern)).toThrow(why);
    expect(() => parseGlob(pattern)).toThrow(
      expect.objectContaining({ code: 'invalid_argument', details: { at } }),
    );
  });

  test.each([
    ['**/**', '**'],
    ['**/**/**/app', '**/app'],
    ['docker.io/**/**', 'docker.io/**'],
    ['ghcr.io/a{/**/**/b,}/**/**:1', 'ghcr.io/a{/**/b,}/**:1'],
  ])('%s is no more than %s', (long, short) => {
    expect(parseGlob(long).plain).toEqual(parseGlob(short).plain);
  });

  test('says how much it is, and whether it is for tags', () => {
    expect(placesOf(parseGlob('r.io/a'))).toBe(6);
    expect(placesOf(parseGlob('r.io/{a,bc}:1'))).toBe(15);
    expect(namesTag(parseGlob('r.io/{a,b:1}'))).toBe(true);
    expect(namesTag(parseGlob('r.io:5000/a'))).toBe(false);
  });

  test('has a say in at most as many patterns as are allowed', () => {
    const either = parseGlob('x/{a,b}{a,b}{a,b}{a,b}');
    expect(matches(either, image('x/abba'))).toBe(true);
    expect(matches(either, image('x/abbc'))).toBe(false);
  });

  test('without signs is what the reference is', () => {
    const name = fc.string({ unit: fc.constantFrom(...'ab.-/:1A'), minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(name, (text) => {
        try {
          parseReference(text);
        } catch {
          return;
        }
        expect(fits(text, text)).toBe(true);
        expect(fits(text, 'other.example/x:y')).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  test('is any text, or refused with a place in it', () => {
    const signs = fc.string({ unit: fc.constantFrom(...'ab.:/*?{},[]@ '), maxLength: 40 });
    fc.assert(
      fc.property(fc.oneof(signs, fc.string()), (text) => {
        try {
          matches(parseGlob(text), image('ghcr.io/team/app'));
        } catch (error) {
          if (!isDrakkarError(error, 'invalid_argument')) throw error;
          const { at } = error.details;
          expect(at).toBeGreaterThanOrEqual(0);
          expect(at).toBeLessThanOrEqual(text.length);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** The same again, as slow as it is simple: braces written out, then segment by segment, and every way tried. */
const oracle = {
  expand(pattern: string): string[] {
    const inner = /^(.*?)\{([^{}]*)\}(.*)$/.exec(pattern);
    if (inner === null) return [pattern];
    const [, before = '', either = '', after = ''] = inner;
    return either.split(',').flatMap((one) => oracle.expand(before + one + after));
  },
  path([segment, ...pattern]: readonly string[], text: readonly string[]): boolean {
    if (segment === undefined) return text.length === 0;
    if (segment === '**')
      return pattern.length === 0
        ? text.length > 0
        : Array.from({ length: text.length + 1 }, (_, taken) => text.slice(taken)).some((rest) =>
            oracle.path(pattern, rest),
          );
    const [first, ...rest] = text;
    return first !== undefined && oracle.segment(segment, first) && oracle.path(pattern, rest);
  },
  segment(pattern: string, text: string): boolean {
    if (pattern === '') return text === '';
    const [sign] = pattern;
    const next = pattern.slice(1);
    if (sign === '*')
      return oracle.segment(next, text) || (text !== '' && oracle.segment(pattern, text.slice(1)));
    return text !== '' && (sign === '?' || sign === text[0]) && oracle.segment(next, text.slice(1));
  },
  matches(pattern: string, { registry, repository, tag }: GlobImage): boolean {
    return oracle.expand(pattern).some((plain) => {
      const [path = '', wanted] = plain.split(':');
      const isTag = wanted === undefined || (tag !== null && oracle.segment(wanted, tag));
      return isTag && oracle.path(path.split('/'), [registry, ...repository.split('/')]);
    });
  },
};

describe('a match', () => {
  const atom = fc.constantFrom('a', 'b', 'a', 'b', '*', '?', 'ab', '{a,b}', '{a,b*}', '{,a}', '{a,{b,ab}}');
  const piece = fc.array(atom, { minLength: 1, maxLength: 4 }).map((atoms) => atoms.join(''));
  const segment = fc.oneof({ weight: 2, arbitrary: piece }, { weight: 1, arbitrary: fc.constant('**') });
  const pattern = fc
    .tuple(
      fc.constantFrom('r.io', 'r.*', '*', '**'),
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      fc.option(piece),
    )
    .map(([registry, path, tag]) => [registry, ...path].join('/') + (tag === null ? '' : `:${tag}`));
  const word = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 5 });
  const images = fc.record({
    registry: fc.constantFrom('r.io', 'r.a'),
    repository: fc.array(word, { minLength: 1, maxLength: 4 }).map((path) => path.join('/')),
    tag: fc.option(word),
  });

  test('is what trying every way finds', () => {
    let found = 0;
    let tried = 0;
    fc.assert(
      fc.property(pattern, fc.array(images, { minLength: 10, maxLength: 10 }), (text, images) => {
        let glob: ReturnType<typeof parseGlob>;
        try {
          glob = parseGlob(text);
        } catch {
          return;
        }
        for (const image of images) {
          const isMatch = matches(glob, image);
          expect({ text, image, isMatch }).toEqual({ text, image, isMatch: oracle.matches(text, image) });
          tried += 1;
          if (isMatch) found += 1;
        }
      }),
      { numRuns: 2000 },
    );
    // Neither all of it refused, nor nothing ever found.
    expect(tried).toBeGreaterThan(5_000);
    expect(found).toBeGreaterThan(200);
  });

  const long = 'a'.repeat(200);
  /** What is asked of a place of the pattern for each character. */
  const STEPS = 4;

  test.each([
    `r.io/${'*a'.repeat(120)}*b`,
    `r.io/${'*a'.repeat(250)}`,
    `r.io/${'*?'.repeat(200)}b`,
    `r.io/${'**/a*/'.repeat(80)}b`,
    `r.io/${'**/*/'.repeat(100)}b`,
    `r.io/${'**/'.repeat(160)}b`,
    `r.io/x{${'*a*a*a*a*b,'.repeat(15)}c}`,
    `r.io/a/*:${'*a'.repeat(100)}b`,
  ])('takes steps as its pattern’s characters by those of the name: %s', (text) => {
    const glob = parseGlob(text);
    const repositories = [long, Array.from(long).join('/').slice(0, 255), `a/${long}`];
    const each = oracle.expand(text).reduce((sum, plain) => sum + plain.length + 1, 0);
    for (const repository of repositories) {
      const image = { registry: 'r.io', repository, tag: 'a'.repeat(128) };
      const { steps } = measure(glob, image);
      const characters = `r.io/${repository}:${image.tag}`.length;
      expect(steps).toBeLessThanOrEqual(STEPS * each * characters);
    }
  });

  test('stops where nothing can match any more', () => {
    const glob = parseGlob(`ghcr.io/${'*a'.repeat(100)}`);
    expect(measure(glob, { registry: 'quay.io', repository: long, tag: null }).steps).toBeLessThanOrEqual(
      STEPS,
    );
  });
});
