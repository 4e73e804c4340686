import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatHostPort, parseHostPort, parseSupernodeAddress } from '../../src/index.ts';

const NO_ADDRESSES = [
  '',
  ':',
  'host',
  'host:',
  ':80',
  'host:0',
  'host:65536',
  'host:-1',
  'host:1e3',
  'host:80:80',
  '999.1.1.1:4400',
  '1.2.3:4400',
  '127.1:4400',
  '1.2.3.4.:4400',
  '1.2.3.4:70000',
  '::1:4400',
  '[::1]',
  '[1.2.3.4]:4400',
  '[::g]:4400',
  '/ip4/127.0.0.1/tcp/4400',
  '/ip4/127.0.0.1/tcp/4400/p2p/12D3KooW',
  'javascript:alert(1)',
  'http://host:80',
  'host/../x:80',
  'user@host:80',
  'ho st:80',
  'host\n:80',
  'host..name:80',
  '-host:80',
  'höst:80',
  `${'a'.repeat(64)}:80`,
  `${'a.'.repeat(127)}aa:80`,
  'a'.repeat(64 * 1024),
  `${'a'.repeat(64 * 1024)}:80`,
  `host:${'8'.repeat(64 * 1024)}`,
];

describe('an address', () => {
  test.each([
    ['127.0.0.1:4400', { host: '127.0.0.1', port: 4400 }],
    ['[fe80::1]:65535', { host: 'fe80::1', port: 65_535 }],
    ['node-1.rack-2.example:1', { host: 'node-1.rack-2.example', port: 1 }],
    ['localhost:80', { host: 'localhost', port: 80 }],
    ['1password.com.:80', { host: '1password.com.', port: 80 }],
  ])('%s is read, and written as it was', (text, address) => {
    expect(parseHostPort(text)).toEqual(address);
    expect(formatHostPort(address)).toBe(text);
  });

  test.each(NO_ADDRESSES.map((text) => [text.slice(0, 60), text]))('%s is none', (_, text) => {
    expect(() => parseHostPort(text)).toThrow('is not an address');
  });

  test('of any form is read or refused, and never takes long', () => {
    const pieces = fc.constantFrom(
      'a',
      '0',
      '-',
      '.',
      ':',
      '_',
      '[',
      ']',
      'aaaaaaaaaaaaaaaa',
      '9999',
      '.a',
      '-.',
    );
    const text = fc.oneof(
      fc.array(pieces, { maxLength: 250 }).map((all) => all.join('')),
      fc.string(),
    );
    fc.assert(
      fc.property(text, (host) => {
        try {
          const address = parseHostPort(`${host}:80`);
          expect(formatHostPort(address)).toBe(`${host}:80`);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_argument' });
        }
      }),
    );
  });

  test('of a supernode names whom to expect there', () => {
    for (const text of NO_ADDRESSES) {
      expect(() => parseSupernodeAddress(`${text}/12D3KooW`)).toThrow();
    }
  });
});
