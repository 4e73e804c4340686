import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fileGuard, matchesUrl, parseFileUrl } from '../../../src/upstream/file-rules.ts';
import { isPrivateAddress } from '../../../src/upstream/hosts.ts';

const EVERYTHING = { allow: ['*://*'], allowPrivate: [] };

const octet = fc.nat(255);
const privateV4 = fc.oneof(
  fc.tuple(fc.constant(10), octet, octet, octet),
  fc.tuple(fc.constant(127), octet, octet, octet),
  fc.tuple(fc.constant(0), octet, octet, octet),
  fc.tuple(fc.constant(169), fc.constant(254), octet, octet),
  fc.tuple(fc.constant(172), fc.integer({ min: 16, max: 31 }), octet, octet),
  fc.tuple(fc.constant(192), fc.constant(168), octet, octet),
  fc.tuple(fc.constant(100), fc.integer({ min: 64, max: 127 }), octet, octet),
  fc.tuple(fc.integer({ min: 224, max: 255 }), octet, octet, octet),
);
const publicV4 = fc
  .tuple(fc.integer({ min: 1, max: 223 }), octet, octet, octet)
  .filter(
    ([a, b]) =>
      ![10, 127].includes(a) &&
      !(a === 169 && b === 254) &&
      !(a === 172 && b >= 16 && b < 32) &&
      !(a === 192 && (b === 168 || b === 0)) &&
      !(a === 100 && b >= 64 && b < 128) &&
      !(a === 198 && (b === 18 || b === 19)),
  );

type V4 = readonly [number, number, number, number];
const numberOf = ([a, b, c, d]: V4) => ((a * 256 + b) * 256 + c) * 256 + d;
const hexPair = ([a, b, c, d]: V4) => `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;

/** One address, as many ways as URLs let it be written. */
const SPELLINGS: readonly ((address: V4) => string)[] = [
  (address) => address.join('.'),
  (address) => `${address.join('.')}.`,
  (address) => String(numberOf(address)),
  (address) => `0x${numberOf(address).toString(16)}`,
  (address) => `0${numberOf(address).toString(8)}`,
  (address) => address.map((part) => `0x${part.toString(16)}`).join('.'),
  (address) => address.map((part) => `0${part.toString(8)}`).join('.'),
  ([a, b, c, d]) => `${a}.${(b * 256 + c) * 256 + d}`,
  ([a, b, c, d]) => `${a}.${b}.${c * 256 + d}`,
  (address) => address.join('.').replaceAll('.', '%2e'),
  (address) => `[::ffff:${address.join('.')}]`,
  (address) => `[::ffff:${hexPair(address)}]`,
  (address) => `[64:ff9b::${hexPair(address)}]`,
  (address) => `[2002:${hexPair(address)}::1]`,
];

describe('the URL of a file', () => {
  test('is refused for every private address, however it is written', () => {
    fc.assert(
      fc.property(privateV4, fc.constantFrom(...SPELLINGS), (address, spell) => {
        const text = `https://${spell(address)}/file`;
        expect(() => parseFileUrl(text, EVERYTHING)).toThrow(/private address/);
      }),
    );
  });

  test('is let through for every public address, however it is written', () => {
    fc.assert(
      fc.property(publicV4, fc.constantFrom(...SPELLINGS), (address, spell) => {
        expect(parseFileUrl(`https://${spell(address)}/file`, EVERYTHING).pathname).toBe('/file');
      }),
    );
  });

  test.each([
    'https://[::1]/',
    'https://[::]/',
    'https://[fe80::1]/',
    'https://[fc00::1]/',
    'https://[fd12:3456::1]/',
    'https://[ff02::1]/',
    'https://[fec0::1]/',
    'https://[64:ff9b:1::808:808]/',
    'https://[::127.0.0.1]/',
    'https://[::ffff:0:127.0.0.1]/',
    'https://[0:0:0:0:0:ffff:a9fe:a9fe]/latest/meta-data',
  ])('is refused for %s', (text) => {
    expect(() => parseFileUrl(text, EVERYTHING)).toThrow(/private address/);
  });

  test('may name a private address that the configuration lists, at its port only', () => {
    const rules = { allow: ['*://*'], allowPrivate: ['10.0.0.1:8080', '[fd00::1]'] };
    expect(parseFileUrl('http://10.0.0.1:8080/a', rules).port).toBe('8080');
    expect(parseFileUrl('http://[fd00::1]/a', rules).pathname).toBe('/a');
    expect(() => parseFileUrl('http://10.0.0.1/a', rules)).toThrow(/private address/);
    expect(() => parseFileUrl('http://10.0.0.2:8080/a', rules)).toThrow(/private address/);
  });

  test.each([
    'ftp://example.com/a',
    'file:///etc/passwd',
    'example.com/a',
    '',
    'https://',
    `https://h/${'a'.repeat(9000)}`,
    `https://${'a.'.repeat(150)}test/a`,
  ])('%j is none', (text) => {
    expect(() => parseFileUrl(text, EVERYTHING)).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }),
    );
  });

  test('names no user and no password', () => {
    expect(() => parseFileUrl('https://user:word@example.com/a', EVERYTHING)).toThrow(/user or a password/);
  });
});

describe('the allowlist', () => {
  test.each([
    ['https://*', 'https://example.com/a', true],
    ['https://*', 'http://example.com/a', false],
    ['*://example.com', 'http://example.com/a/b', true],
    ['https://example.com', 'https://example.com:8443/a', false],
    ['https://example.com:*', 'https://example.com:8443/a', true],
    ['https://*.example.com/models/*', 'https://eu.example.com/models/x/y.bin', true],
    ['https://*.example.com/models/*', 'https://eu.example.com/Models/x', false],
    ['https://*.example.com/models/*', 'https://eu.example.com/models/../secret', false],
    ['https://example.com/models/*', 'https://example.com/models/..%2fsecret', false],
    ['https://example.com/models/*', 'https://example.com/models/..%5Csecret', false],
    ['https://example.com/models/*.bin', 'https://example.com/models/secret%00.bin', false],
    ['https://example.com', 'https://example.com/a%2Fb', true],
    ['https://*.example.com/*', 'https://evil.test/x.example.com/', false],
    ['https://*.example.com/*', 'https://evil.test/?x=.example.com/', false],
    ['https://*.example.com/*', 'https://evil.test/#.example.com/', false],
    ['https://*.example.com', 'https://example.com.evil.test/', false],
    ['example.com', 'https://example.com/', false],
  ])('%s: %s is let through: %s', (pattern, url, expected) => {
    expect(matchesUrl(pattern, new URL(url))).toBe(expected);
  });

  test('holds for every hop of a redirect, which never leads from https to http', () => {
    const guard = fileGuard({ allow: ['https://a.test', 'http://a.test'], allowPrivate: [] });
    const from = new URL('https://a.test/x');
    expect(guard.follow(from, new URL('https://a.test/y'))).toBe(true);
    expect(() => guard.follow(from, new URL('https://b.test/y'))).toThrow(/not on the allowlist/);
    expect(() => guard.follow(from, new URL('http://a.test/y'))).toThrow(/from https to http/);
    expect(() => guard.follow(from, new URL('file:///etc/passwd'))).toThrow(/to file/);
    expect(() => guard.follow(from, new URL('https://u@a.test/y'))).toThrow(/user or a password/);
  });

  test('says what it refuses, and where a redirect led', () => {
    const rules = { allow: ['http://*'], allowPrivate: [] };
    const said = (work: () => unknown) => {
      try {
        work();
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(said(() => parseFileUrl('https://a.test/x?key=hush', rules))).toMatchObject({
      message: 'https://a.test/x is refused: it is not on the allowlist',
      hint: expect.stringContaining('files.allow'),
    });
    expect(said(() => parseFileUrl('http://10.0.0.1/x', rules))).toMatchObject({
      message: 'http://10.0.0.1/x is refused: it is a private address',
    });
    const [guard, from] = [fileGuard(rules), new URL('http://a.test/x')];
    expect(said(() => guard.follow(from, new URL('http://10.0.0.1/y')))).toMatchObject({
      message: 'a.test redirected to http://10.0.0.1/y, which is refused: it is a private address',
    });
    for (const [to, shown] of [
      ['ftp://b.test/y', 'ftp://b.test'],
      ['file:///etc/passwd', 'file://'],
    ] as const)
      expect(said(() => guard.follow(from, new URL(to)))).toMatchObject({
        code: 'forbidden',
        message: `a.test redirected to ${shown}`,
        hint: 'the server must redirect to https or http',
      });
  });
});

test('an interface’s name does not hide a private address', () => {
  expect(isPrivateAddress('fe80::1%eth0')).toBe(true);
});
