import { Digester, digestFromHex, digestOf, hexOf, isDigest, parseDigest } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test('a digest is sha256: and 64 lower-case hex digits, nothing else', () => {
  const good = digestOf('hello');
  expect(good).toBe('sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824');
  expect(parseDigest(good)).toBe(good);
  for (const bad of [
    '',
    'sha256:',
    good.toUpperCase(),
    `${good}0`,
    good.replace('sha256', 'sha512'),
    `x${good}`,
    `${good}\n`,
  ]) {
    expect(isDigest(bad)).toBe(false);
    expect(() => parseDigest(bad)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  }
});

test('hashing in parts is hashing the whole', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (parts) => {
      const digester = new Digester();
      for (const part of parts) digester.update(part);
      const whole = Buffer.concat(parts);
      expect(digester.sizeBytes).toBe(whole.length);
      const digest = digester.digest();
      expect(digest).toBe(digestOf(whole));
      expect(digestFromHex(hexOf(digest))).toBe(digest);
    }),
  );
});
