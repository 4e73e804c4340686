import { randomBytes } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_CHARACTERS = 10;
const CHANCE_BYTES = 10;

/** An id of which a later one comes after an earlier one, to the millisecond: 26 characters. Source: ULID, in lower case. */
export function newId(nowMs: number): string {
  const time = Array.from({ length: TIME_CHARACTERS }, (_, index) =>
    digit(Math.floor(nowMs / 32 ** (TIME_CHARACTERS - 1 - index))),
  );
  let bits = BigInt(`0x${randomBytes(CHANCE_BYTES).toString('hex')}`);
  let chance = '';
  for (let length = 0; length < 16; length += 1) {
    chance = digit(Number(bits % 32n)) + chance;
    bits /= 32n;
  }
  return time.join('') + chance;
}

export const ID = /^[0-9a-hjkmnp-tv-z]{26}$/;
export const isId = (text: string): boolean => ID.test(text);

const digit = (number: number): string => ALPHABET[number % 32] ?? '';
