import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';
import { DrakkarError } from '@drakkar/protocol';

const CIPHER = 'aes-256-gcm';
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const FORM = 'sealed-1';

/** Nobody reads it who has not the same secret. @returns `sealed-1 `, and in base64 salt, nonce, tag and what is sealed */
export function seal(text: string, secret: string): string {
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, keyOf(secret, salt), nonce);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return `${FORM} ${Buffer.concat([salt, nonce, cipher.getAuthTag(), sealed]).toString('base64')}`;
}

export const isSealed = (text: string): boolean => text.startsWith(`${FORM} `);

/** @throws `forbidden` for another secret than it was sealed with */
export function unseal(sealed: string, secret: string): string {
  const bytes = Buffer.from(sealed.slice(FORM.length + 1), 'base64');
  const salt = bytes.subarray(0, SALT_BYTES);
  const nonce = bytes.subarray(SALT_BYTES, SALT_BYTES + NONCE_BYTES);
  const tag = bytes.subarray(SALT_BYTES + NONCE_BYTES, SALT_BYTES + NONCE_BYTES + TAG_BYTES);
  try {
    const decipher = createDecipheriv(CIPHER, keyOf(secret, salt), nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(tag);
    const text = decipher.update(bytes.subarray(SALT_BYTES + NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new DrakkarError('forbidden', 'the cluster’s key in Redis was sealed with another secret', {
      hint: 'give every supernode the same `state.secretFile`',
      cause,
    });
  }
}

const keyOf = (secret: string, salt: Uint8Array): Buffer => scryptSync(secret, salt, 32);
