import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DeliveryHeaders,
  HOOK_KINDS,
  type HookKind,
  PROOFS,
  type Proof,
  verifySecret,
} from '../../../src/webhooks/index.ts';

const SECRET = 'correct horse: battery';
const BODY = Buffer.from('{"events":[]}');

const sign = (secret: string, body: Uint8Array = BODY) => ({
  'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
});
const basic = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` });

const proofs: Readonly<Record<Proof, (secret: string) => DeliveryHeaders>> = {
  hmac: (secret) => sign(secret),
  header: (secret) => ({ authorization: `Bearer ${secret}` }),
  basic: (secret) => basic(`drakkar:${secret}`),
};

describe('the secret of a hook', () => {
  test.each(HOOK_KINDS)('is shown by %s in the ways that it has, and in no other', (kind) => {
    for (const [proof, headersOf] of Object.entries(proofs)) {
      const isWay = PROOFS[kind].includes(proof as Proof);
      expect(verifySecret(kind, SECRET, BODY, headersOf(SECRET))).toBe(isWay);
      expect(verifySecret(kind, SECRET, BODY, headersOf(`${SECRET}r`))).toBe(false);
    }
    expect(verifySecret(kind, SECRET, BODY, {})).toBe(false);
    expect(PROOFS[kind].length).toBeGreaterThan(0);
  });

  test('may be all of the header, whatever scheme it is', () => {
    expect(verifySecret('harbor', SECRET, BODY, { authorization: SECRET })).toBe(true);
    expect(verifySecret('harbor', 'Token abc', BODY, { authorization: 'Token abc' })).toBe(true);
    expect(verifySecret('distribution', SECRET, BODY, { authorization: `bearer  ${SECRET}` })).toBe(true);
    expect(verifySecret('distribution', SECRET, BODY, { authorization: `Digest ${SECRET}` })).toBe(false);
  });

  test('may be the password of any user', () => {
    expect(verifySecret('docker-hub', SECRET, BODY, basic(`:${SECRET}`))).toBe(true);
    expect(verifySecret('docker-hub', SECRET, BODY, basic(SECRET))).toBe(false);
    expect(verifySecret('docker-hub', 'pässword', BODY, basic('user:pässword'))).toBe(true);
  });

  test('signs the bytes that were sent', () => {
    expect(verifySecret('ghcr', SECRET, Buffer.from('{ "events": [] }'), sign(SECRET))).toBe(false);
    expect(verifySecret('ghcr', SECRET, BODY, { 'x-hub-signature-256': 'sha256=' })).toBe(false);
    const twice = [sign(SECRET)['x-hub-signature-256'], 'sha256=0'];
    expect(verifySecret('ghcr', SECRET, BODY, { 'x-hub-signature-256': twice })).toBe(false);
  });

  // Source: docs.github.com, Validating webhook deliveries, which gives these to test with.
  test('signs as GitHub does', () => {
    const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17';
    const headers = { 'x-hub-signature-256': signature };
    expect(verifySecret('ghcr', "It's a Secret to Everybody", Buffer.from('Hello, World!'), headers)).toBe(
      true,
    );
  });

  test('is nothing that can be shown where it is empty', () => {
    for (const kind of HOOK_KINDS)
      for (const headers of [{}, { authorization: '' }, { authorization: 'Bearer ' }, basic(':'), sign('')])
        expect(verifySecret(kind, '', BODY, headers)).toBe(false);
  });

  test('is shown by nobody who does not know it', () => {
    const text = fc.string({ maxLength: 30 });
    fc.assert(
      fc.property(
        fc.constantFrom<HookKind>(...HOOK_KINDS),
        fc.string({ minLength: 1, maxLength: 30 }),
        fc.dictionary(
          fc.constantFrom('authorization', 'x-hub-signature-256'),
          fc.oneof(
            text,
            text.map((value) => `Bearer ${value}`),
            text.map((value) => basic(value).authorization),
            text.map((value) => `sha256=${value}`),
          ),
        ),
        (kind, secret, headers) => {
          const plain = Object.values(headers).flatMap((value) => [
            value,
            Buffer.from(value.replace(/^Basic /, ''), 'base64').toString(),
          ]);
          fc.pre(!plain.some((value) => value.includes(secret)));
          expect(verifySecret(kind, secret, BODY, headers)).toBe(false);
        },
      ),
    );
  });
});
