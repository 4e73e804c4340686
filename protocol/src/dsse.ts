import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { DrakkarError } from '@drakkar/errors';
import { z } from 'zod';

/**
 * Dead Simple Signing Envelope with Ed25519.
 * Source: secure-systems-lab/dsse, envelope.md and protocol.md (v1.0).
 */
const envelopeSchema = z.object({
  payloadType: z.string().max(255),
  payload: z.base64(),
  signatures: z
    .array(z.object({ keyid: z.string().max(255).optional(), sig: z.base64() }))
    .min(1)
    .max(16),
});

/** `DSSEv1 <len> <type> <len> <payload>`: what is signed. */
function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** A public key as configuration names it: base64 of its 32 raw bytes. */
export function encodePublicKey(key: KeyObject): string {
  const jwk = createPublicKeyOf(key).export({ format: 'jwk' });
  return Buffer.from(jwk.x ?? '', 'base64url').toString('base64');
}

/** @throws `invalid_argument` unless the text is base64 of 32 bytes */
export function decodePublicKey(text: string): KeyObject {
  const raw = Buffer.from(text, 'base64');
  if (raw.length !== 32 || raw.toString('base64') !== text) {
    throw new DrakkarError(
      'invalid_argument',
      `${JSON.stringify(text.slice(0, 100))} is not an Ed25519 public key`,
      {
        hint: 'write the 32 bytes of the key in base64',
      },
    );
  }
  return createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') },
    format: 'jwk',
  });
}

function createPublicKeyOf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

export function signEnvelope(payloadType: string, payload: Uint8Array, privateKey: KeyObject): Uint8Array {
  const sig = sign(null, preAuthenticationEncoding(payloadType, payload), privateKey);
  const envelope = {
    payloadType,
    payload: Buffer.from(payload).toString('base64'),
    signatures: [{ keyid: encodePublicKey(privateKey), sig: sig.toString('base64') }],
  };
  return Buffer.from(JSON.stringify(envelope));
}

export interface VerifiedEnvelope {
  readonly payload: Uint8Array;
  /** The trusted key whose signature holds, as in {@link encodePublicKey}. */
  readonly signer: string;
}

/**
 * The payload, if one of the trusted keys signed it. A `keyid` is a hint for people; trust never depends on it.
 * @throws `invalid_content` for what is no envelope; `forbidden` where no trusted key signed it
 */
export function verifyEnvelope(
  bytes: Uint8Array,
  payloadType: string,
  trustedKeys: readonly KeyObject[],
): VerifiedEnvelope {
  const parsed = parseEnvelope(bytes);
  if (parsed.payloadType !== payloadType) {
    throw new DrakkarError('invalid_content', `the envelope holds ${parsed.payloadType}, not ${payloadType}`);
  }
  const payload = Buffer.from(parsed.payload, 'base64');
  const signed = preAuthenticationEncoding(payloadType, payload);
  for (const key of trustedKeys) {
    for (const { sig } of parsed.signatures) {
      if (verify(null, signed, key, Buffer.from(sig, 'base64')))
        return { payload, signer: encodePublicKey(key) };
    }
  }
  const signers = parsed.signatures.map(({ keyid }) => keyid ?? 'an unnamed key').join(', ');
  throw new DrakkarError(
    'forbidden',
    `no trusted builder signed this; it claims to be signed by ${signers}`,
    {
      hint: 'add the builder’s public key to snapshots.trustedBuilders if you trust it',
    },
  );
}

/** Which keys an envelope claims to be signed by. It proves nothing: see {@link verifyEnvelope}. @throws `invalid_content` */
export function claimedSigners(bytes: Uint8Array): string[] {
  return parseEnvelope(bytes).signatures.flatMap(({ keyid }) => keyid ?? []);
}

function parseEnvelope(bytes: Uint8Array): z.infer<typeof envelopeSchema> {
  try {
    return envelopeSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new DrakkarError('invalid_content', 'this is not a DSSE envelope', { cause });
  }
}
