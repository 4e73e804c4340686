import { generateKeyPairSync } from 'node:crypto';
import { decodePublicKey, encodePublicKey, signEnvelope, verifyEnvelope } from '@drakkar/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const TYPE = 'application/vnd.example+json';
const [alice, mallory] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
const payload = Buffer.from('{"hello":"world"}');
const envelope = signEnvelope(TYPE, payload, alice.privateKey);

test('a trusted signature gives the payload and who signed it', () => {
  const verified = verifyEnvelope(envelope, TYPE, [mallory.publicKey, alice.publicKey]);
  expect(Buffer.from(verified.payload)).toEqual(payload);
  expect(verified.signer).toBe(encodePublicKey(alice.publicKey));
  expect(decodePublicKey(verified.signer).equals(alice.publicKey)).toBe(true);
});

test('an untrusted signer is refused, whatever its key id claims', () => {
  const forged = JSON.parse(Buffer.from(signEnvelope(TYPE, payload, mallory.privateKey)).toString());
  forged.signatures[0].keyid = encodePublicKey(alice.publicKey);
  const bytes = Buffer.from(JSON.stringify(forged));
  expect(() => verifyEnvelope(bytes, TYPE, [alice.publicKey])).toThrow(
    expect.objectContaining({ code: 'forbidden' }),
  );
  expect(() => verifyEnvelope(envelope, TYPE, [])).toThrow(expect.objectContaining({ code: 'forbidden' }));
});

test('a payload of another type is refused', () => {
  expect(() => verifyEnvelope(envelope, 'text/plain', [alice.publicKey])).toThrow(
    expect.objectContaining({ code: 'invalid_content' }),
  );
});

test('no changed byte of an envelope ever changes what is accepted', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(255), (at, value) => {
      const bytes = Buffer.from(envelope);
      bytes[at % bytes.length] = value;
      try {
        expect(Buffer.from(verifyEnvelope(bytes, TYPE, [alice.publicKey]).payload)).toEqual(payload);
      } catch (error) {
        expect(error).toMatchObject({ name: 'DrakkarError' });
      }
    }),
  );
});

test.each(['', 'x', Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64')])(
  '%j is no public key',
  (text) => {
    expect(() => decodePublicKey(text)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  },
);
