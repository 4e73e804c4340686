import { DrakkarError } from '@drakkar/protocol';
import { type Change, type Check, type ListOptions, STATE_LIMITS } from './contract.ts';

/** Printable ASCII without blanks: bytes and characters are one, and {@link END} comes after all that begins like a prefix. */
const KEY = /^[!-~]+$/;
export const END = '\x7f';

export function checkKey(key: string): void {
  if (key.length > STATE_LIMITS.keyBytes || !KEY.test(key)) {
    throw new DrakkarError('invalid_argument', `no key of the state: ${JSON.stringify(key.slice(0, 100))}`);
  }
}

export function checkChanges(changes: readonly Change[], checks: readonly Check[]): void {
  for (const { key } of checks) checkKey(key);
  if (changes.length > STATE_LIMITS.changes) {
    throw new DrakkarError('invalid_argument', `${changes.length} changes at once`);
  }
  for (const { key, value } of changes) {
    checkKey(key);
    if (value !== null && Buffer.byteLength(value) > STATE_LIMITS.valueBytes) {
      throw new DrakkarError('limit_exceeded', `what is to be kept under ${key} is too large`);
    }
  }
}

/** The keys between which a list lies, neither of them in it. */
export function boundsOf(prefix: string, { after, reverse }: ListOptions): { from: string; to: string } {
  checkKey(prefix);
  const end = prefix + END;
  if (after === undefined) return { from: prefix, to: end };
  return reverse === true
    ? { from: prefix, to: after < end ? after : end }
    : { from: after > prefix ? after : prefix, to: end };
}
