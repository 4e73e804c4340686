import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseChallenges, preferredChallenge } from '../../../src/upstream/challenge.ts';
import { isPrivateAddress, listed, matchesGlob } from '../../../src/upstream/hosts.ts';
import { UPSTREAM_DEFAULTS } from '../../../src/upstream/options.ts';
import { backoffMs, parseRetryAfter } from '../../../src/upstream/retry.ts';

describe('challenges', () => {
  test('those of real registries are understood', () => {
    const hub =
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull"';
    expect(parseChallenges(hub)).toEqual([
      {
        scheme: 'bearer',
        parameters: new Map([
          ['realm', 'https://auth.docker.io/token'],
          ['service', 'registry.docker.io'],
          ['scope', 'repository:library/debian:pull'],
        ]),
      },
    ]);
    expect(preferredChallenge('Basic realm="a, b", Bearer realm="https://x/t"')?.scheme).toBe('bearer');
    expect(preferredChallenge('Basic realm="say \\"hi\\""')?.parameters.get('realm')).toBe('say "hi"');
    expect(preferredChallenge('Negotiate')).toBeUndefined();
  });

  test('what is written is read, and no text is an error or takes long', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
    const challenge = fc.record({
      scheme: word,
      parameters: fc.uniqueArray(fc.tuple(word, fc.string()), { selector: ([name]) => name, minLength: 1 }),
    });
    fc.assert(
      fc.property(fc.array(challenge, { minLength: 1, maxLength: 3 }), (challenges) => {
        const header = challenges
          .map(({ scheme, parameters }) => {
            const list = parameters.map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`);
            return `${scheme} ${list.join(', ')}`;
          })
          .join(', ');
        const expected = challenges.map(({ scheme, parameters }) => ({
          scheme,
          parameters: new Map(parameters),
        }));
        expect(parseChallenges(header)).toEqual(expected);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => Array.isArray(parseChallenges(text))));
  });
});

test('addresses that are not on the internet are known, also inside IPv6', () => {
  for (const address of [
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '192.168.0.1',
    '::1',
    'fe80::1',
    'fd00::1',
    '::ffff:10.0.0.1',
  ]) {
    expect(isPrivateAddress(address), address).toBe(true);
  }
  for (const address of ['1.1.1.1', '8.8.8.8', '2606:4700::1111', '172.32.0.1']) {
    expect(isPrivateAddress(address), address).toBe(false);
  }
});

test('globs name hosts with or without their port', () => {
  expect(listed(['*.example.com'], 'a.example.com:5000')).toBe(true);
  expect(listed(['example.com:5000'], 'example.com')).toBe(false);
  expect(matchesGlob('a.b', 'axb')).toBe(false);
});

test('a wait is never longer than its caps, and at least half of what is due', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.option(fc.nat(), { nil: undefined }),
      fc.float({ min: 0, max: Math.fround(0.999), noNaN: true }),
      (attempt, retryAfter, random) => {
        const wait = backoffMs(attempt, retryAfter, random, UPSTREAM_DEFAULTS);
        expect(wait).toBeLessThanOrEqual(
          Math.max(UPSTREAM_DEFAULTS.backoffCapMs, UPSTREAM_DEFAULTS.retryAfterCapMs),
        );
        expect(wait).toBeGreaterThanOrEqual(UPSTREAM_DEFAULTS.backoffMs / 2);
      },
    ),
  );
  expect(parseRetryAfter('120', 0)).toBe(120_000);
  expect(parseRetryAfter('Thu, 01 Jan 1970 00:00:30 GMT', 10_000)).toBe(20_000);
  expect(parseRetryAfter('soon', 0)).toBeUndefined();
});
