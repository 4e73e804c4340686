import { createPublicKey, type KeyObject } from 'node:crypto';
import { DrakkarError } from '@drakkar/errors';
import { base58btc } from 'multiformats/bases/base58';

declare const peerIdBrand: unique symbol;

/** Who a daemon or supernode is: its Ed25519 public key, as libp2p writes it (`12D3KooW…`). */
export type PeerId = string & { readonly [peerIdBrand]: true };

/**
 * An identity multihash of 36 bytes: a protobuf message with the key's type (1 = Ed25519) and its 32 bytes.
 * Source: libp2p/specs, peer-ids/peer-ids.md.
 */
const PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);
const KEY_BYTES = 32;

/** @throws `invalid_argument` for a key that is not Ed25519 */
export function peerIdOf(key: KeyObject): PeerId {
  const {
    kty,
    crv,
    x = '',
  } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  if (kty !== 'OKP' || crv !== 'Ed25519') {
    throw new DrakkarError('invalid_argument', `a peer has an Ed25519 key, not ${crv ?? kty}`);
  }
  return peerIdFromRaw(Buffer.from(x, 'base64url'));
}

/** @param raw the 32 bytes of an Ed25519 public key */
export function peerIdFromRaw(raw: Uint8Array): PeerId {
  if (raw.length !== KEY_BYTES) throw notAPeer(Buffer.from(raw).toString('hex'));
  return base58btc.baseEncode(Buffer.concat([PREFIX, raw])) as PeerId;
}

export function isPeerId(text: unknown): text is PeerId {
  return typeof text === 'string' && rawKeyOf(text) !== undefined;
}

/** @throws `invalid_argument` */
export function parsePeerId(text: string): PeerId {
  if (isPeerId(text)) return text;
  throw notAPeer(text);
}

export function publicKeyOf(peer: PeerId): KeyObject {
  const raw = rawKeyOf(peer);
  if (raw === undefined) throw notAPeer(peer);
  return createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw).toString('base64url') },
    format: 'jwk',
  });
}

function rawKeyOf(text: string): Uint8Array | undefined {
  // A peer's name has 52 characters; decoding takes time that grows with the square of the length.
  if (text.length > 60 || !/^[1-9A-HJ-NP-Za-km-z]+$/.test(text)) return undefined;
  const bytes = base58btc.baseDecode(text);
  const isPeer = bytes.length === PREFIX.length + KEY_BYTES && PREFIX.every((byte, at) => bytes[at] === byte);
  return isPeer ? bytes.subarray(PREFIX.length) : undefined;
}

function notAPeer(text: string): DrakkarError {
  return new DrakkarError('invalid_argument', `${JSON.stringify(text.slice(0, 100))} is not a peer’s name`);
}
