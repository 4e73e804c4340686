import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CLOCK_TOLERANCE_MS,
  clusterKeyName,
  digestOf,
  formatJoinToken,
  type Grant,
  isPeerId,
  parseJoinToken,
  parsePeerId,
  peerIdFromRaw,
  peerIdOf,
  publicKeyOf,
  signGrants,
  signMembership,
  signSuccession,
  signVoucher,
  verifyGrant,
  verifyMembership,
  verifySuccession,
  verifyVoucher,
} from '../../src/index.ts';

const keyPair = () => generateKeyPairSync('ed25519');
const cluster = keyPair().privateKey;
const keys = [clusterKeyName(cluster)];
const peer = peerIdOf(keyPair().publicKey);
const signGrant = (statement: Grant, key: KeyObject) => signGrants([statement], key)[0] ?? '';
const NOW = 1_800_000_000_000;
const grant = { peer, digest: digestOf('x'), origin: 'docker.io', expiresAtMs: NOW };
const membership = {
  peer,
  name: 'host-1',
  role: 'daemon' as const,
  issuedAtMs: NOW,
  expiresAtMs: NOW + 1000,
};

describe('a peer’s name', () => {
  test('is its key', () => {
    const { publicKey } = keyPair();
    expect(peerIdOf(publicKey)).toMatch(/^12D3KooW/);
    expect(publicKeyOf(peerIdOf(publicKey)).equals(publicKey)).toBe(true);
  });

  test('of any 32 bytes is read back; anything else is none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (raw) => {
        expect(parsePeerId(peerIdFromRaw(raw))).toBe(peerIdFromRaw(raw));
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => !isPeerId(text)));
    for (const text of [
      '',
      '1'.repeat(1_000_000),
      `${peer}1`,
      'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
    ])
      expect(isPeerId(text)).toBe(false);
  });

  test('is not made of other keys', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect(() => peerIdOf(publicKey)).toThrow(/Ed25519/);
  });
});

describe('a statement', () => {
  test('holds for what it says, under the key that signed it', () => {
    expect(verifyGrant(signGrant(grant, cluster), keys, NOW)).toEqual(grant);
    expect(verifyMembership(signMembership(membership, cluster), keys, NOW)).toEqual(membership);
    const next = { key: clusterKeyName(keyPair().privateKey), issuedAtMs: NOW };
    expect(verifySuccession(signSuccession(next, cluster), keys)).toEqual(next);
  });

  test('of one kind is none of another', () => {
    expect(() => verifyMembership(signGrant(grant, cluster), keys, NOW)).toThrow(/malformed/);
    expect(() => verifyGrant(signMembership(membership, cluster), keys, NOW)).toThrow(/malformed/);
    expect(() => verifySuccession(signMembership(membership, cluster), keys)).toThrow(
      /another key signed it/,
    );
  });

  test('of another cluster, or of none, is refused', () => {
    const { privateKey } = keyPair();
    expect(() => verifyGrant(signGrant(grant, privateKey), keys, NOW)).toThrow(
      expect.objectContaining({ code: 'unauthorized' }),
    );
    expect(() => verifyGrant(signGrant(grant, cluster), [], NOW)).toThrow(/another key/);
  });

  test('ends, with room for clocks that differ', () => {
    const text = signGrant(grant, cluster);
    expect(verifyGrant(text, keys, NOW + CLOCK_TOLERANCE_MS - 1)).toEqual(grant);
    expect(() => verifyGrant(text, keys, NOW + CLOCK_TOLERANCE_MS)).toThrow(/the grant ended 2027/);
  });

  test('that was changed anywhere is refused, and so is anything else', () => {
    const text = signGrant(grant, cluster);
    const refused = (changed: string) =>
      expect(() => verifyGrant(changed, keys, NOW)).toThrow(
        expect.objectContaining({ code: 'unauthorized' }),
      );
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
        const changed = text.slice(0, at) + character + text.slice(at + 1);
        // The last character of base64 has bits that say nothing.
        const same = (parts: string[]) =>
          parts.map((part) => Buffer.from(part, 'base64url').toString('hex')).join('.');
        if (same(changed.split('.')) !== same(text.split('.'))) refused(changed);
      }),
    );
    fc.assert(fc.property(fc.string(), (other) => void refused(other)));
    refused('x'.repeat(1_000_000));
  });
});

describe('grants that are signed together', () => {
  const grantsOf = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ ...grant, digest: digestOf(`blob ${index}`) }));

  test('hold each for itself, however many they are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), (count) => {
        const statements = grantsOf(count);
        const texts = signGrants(statements, cluster);
        expect(texts.map((text) => verifyGrant(text, keys, NOW))).toEqual(statements);
        expect(Math.max(...texts.map(({ length }) => length))).toBeLessThan(2048);
      }),
      { numRuns: 20 },
    );
    expect(signGrants([], cluster)).toEqual([]);
  });

  test('say nothing with another’s path, with a path of another length, or without one', () => {
    const parts = signGrants(grantsOf(7), cluster).map((text) => text.split('.'));
    const [payload = '', path = '', signature = ''] = parts[0] ?? [];
    const bytes = Buffer.from(path, 'base64url');
    const wrong = [
      parts[1]?.[1] ?? '',
      '',
      bytes.subarray(0, 33).toString('base64url'),
      bytes.subarray(0, 40).toString('base64url'),
      Buffer.concat([bytes, bytes.subarray(0, 33)]).toString('base64url'),
      Buffer.concat([Buffer.of(2), bytes.subarray(1)]).toString('base64url'),
    ];
    for (const other of wrong)
      expect(() => verifyGrant(`${payload}.${other}.${signature}`, keys, NOW)).toThrow(
        expect.objectContaining({ code: 'unauthorized' }),
      );
  });
});

test('a join token is what it was made of, and nothing else is one', () => {
  const token = { clusterKey: keys[0] ?? peer, secret: 'a_secret-'.replace('-', '_').repeat(4) };
  expect(parseJoinToken(` ${formatJoinToken(token)}\n`)).toEqual(token);
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(() => parseJoinToken(text)).toThrow(/join token/);
    }),
  );
});

describe('a voucher', () => {
  const voucher = {
    manifest: digestOf('manifest'),
    platform: 'linux/amd64',
    envelope: digestOf('envelope'),
    builder: 'key',
    expiresAtMs: NOW,
  };

  test('is believed from the cluster’s key alone, for its time, and is no other statement', () => {
    const text = signVoucher(voucher, cluster);
    expect(verifyVoucher(text, keys, NOW)).toEqual(voucher);
    expect(() => verifyVoucher(text, [clusterKeyName(keyPair().privateKey)], NOW)).toThrow(/another key/);
    expect(() => verifyVoucher(text, keys, NOW + CLOCK_TOLERANCE_MS)).toThrow(/ended/);
    expect(() => verifyVoucher(signMembership(membership, cluster), keys, NOW)).toThrow(/another key/);
    const [payload = '', signature] = text.split('.');
    const forged = Buffer.from(
      Buffer.from(payload, 'base64url').toString().replace('"key"', '"own"'),
    ).toString('base64url');
    expect(() => verifyVoucher(`${forged}.${signature}`, keys, NOW)).toThrow(/another key/);
  });
});
