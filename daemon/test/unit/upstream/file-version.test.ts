import { digestOf } from '@drakkar/protocol';
import fc from 'fast-check';
import { Headers } from 'node-fetch';
import { describe, expect, test } from 'vitest';
import { versionName } from '../../../src/files/names.ts';
import { isSameVersion, digestOf as saidDigest, validatorOf } from '../../../src/upstream/files.ts';

const ETAG = { etag: '"a"', lastModified: null, sizeBytes: 5 };
const DIGEST = digestOf('hello');
const BASE64 = Buffer.from(DIGEST.slice(7), 'hex').toString('base64');

describe('a version of a file', () => {
  test('is told by a strong ETag, else by its date, never by a weak ETag', () => {
    expect(validatorOf(ETAG)).toBe('"a"');
    expect(validatorOf({ ...ETAG, etag: 'W/"a"', lastModified: 'Mon' })).toBe('Mon');
    expect(validatorOf({ ...ETAG, etag: 'W/"a"' })).toBe(undefined);
  });

  test('differs where anything that both say differs', () => {
    expect(isSameVersion(ETAG, { ...ETAG, etag: '"b"' })).toBe(false);
    expect(isSameVersion(ETAG, { ...ETAG, sizeBytes: 6 })).toBe(false);
    expect(isSameVersion(ETAG, { ...ETAG, sizeBytes: undefined })).toBe(true);
    expect(isSameVersion(ETAG, { etag: null, lastModified: 'Mon', sizeBytes: 5 })).toBe(true);
  });

  test('has a name of its own, which no other URL, version or size has', () => {
    const word = fc.stringMatching(/^[a-z"]{1,6}$/);
    const version = fc.record({ path: word, etag: word, sizeBytes: fc.nat(9) });
    const nameOf = ({ path, etag, sizeBytes }: { path: string; etag: string; sizeBytes: number }) =>
      versionName(new URL(`https://a.test/${path}`), { etag: `"${etag}"`, lastModified: null, sizeBytes });
    fc.assert(
      fc.property(version, version, (a, b) => {
        const isSame = a.path === b.path && a.etag === b.etag && a.sizeBytes === b.sizeBytes;
        expect(nameOf(a) === nameOf(b)).toBe(isSame);
      }),
    );
    expect(versionName(new URL('https://a.test/'), { ...ETAG, sizeBytes: undefined })).toBe(undefined);
    expect(versionName(new URL('https://a.test/'), { ...ETAG, etag: null })).toBe(undefined);
  });
});

test.each([
  { 'repr-digest': `sha-256=:${BASE64}:` },
  { 'repr-digest': `sha-512=:AAAA:, sha-256=:${BASE64}:;q=1` },
  { digest: `SHA-256=${BASE64}` },
  { digest: `md5=AAAA==,sha-256=${BASE64}` },
])('a server may say the sha256 as %j', (headers) => {
  expect(saidDigest({ headers: new Headers(headers as Record<string, string>) })).toBe(DIGEST);
});

test.each([
  {},
  { digest: 'sha-256=short' },
  { digest: `xsha-256=${BASE64}` },
  { 'repr-digest': `sha-512=:${BASE64}:` },
])('%j says no sha256', (headers) => {
  expect(saidDigest({ headers: new Headers(headers as Record<string, string>) })).toBe(undefined);
});
