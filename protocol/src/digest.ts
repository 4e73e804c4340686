import { createHash, type Hash, hash } from 'node:crypto';
import { DrakkarError } from '@drakkar/errors';

declare const digestBrand: unique symbol;

/** A content digest, `sha256:` and 64 lower-case hex digits. Only {@link parseDigest} and the hashers make one. */
export type Digest = `sha256:${string}` & { readonly [digestBrand]: true };

const PATTERN = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && PATTERN.test(text);
}

/** @throws `invalid_argument` for anything but a well-formed sha256 digest; `what` names it in the message. */
export function parseDigest(text: string, what = 'digest'): Digest {
  if (isDigest(text)) return text;
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  throw new DrakkarError('invalid_argument', `${what} ${JSON.stringify(shown)} is not a sha256 digest`, {
    hint: 'write it as sha256: and 64 lower-case hex digits',
  });
}

/** The 64 hex digits, as used in file names. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

export function digestFromHex(hex: string): Digest {
  return parseDigest(`sha256:${hex}`);
}

/** The 32 bytes, as they stand in messages. */
export function rawOf(digest: Digest): Uint8Array {
  return Buffer.from(hexOf(digest), 'hex');
}

/** @throws `invalid_argument` unless there are 32 bytes */
export function digestFromRaw(raw: Uint8Array): Digest {
  return digestFromHex(Buffer.from(raw).toString('hex'));
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${hash('sha256', bytes, 'hex')}` as Digest;
}

/** The first 12 hex digits: for people, never for look-ups. */
export function shortDigest(digest: Digest): string {
  return hexOf(digest).slice(0, 12);
}

/** An incremental sha256 that ends in a {@link Digest}. */
export class Digester {
  readonly #hash: Hash = createHash('sha256');
  sizeBytes = 0;

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes);
    this.sizeBytes += bytes.length;
    return this;
  }

  /** Ends the computation; the digester is of no further use. */
  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}` as Digest;
  }
}
