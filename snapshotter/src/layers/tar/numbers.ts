/**
 * Numbers of tar headers. Beyond what a double holds exactly they are ±Infinity: every field that cannot be that
 * large refuses it, and times that large mean none.
 */

const ZERO = 0x30;
const SPACE = 0x20;

/** Octal text, padded with spaces or NULs on either side. `undefined` when it is not a number. */
export function parseOctal(block: Uint8Array, start: number, length: number): number | undefined {
  let at = start;
  let end = start + length;
  while (at < end && (block[at] === SPACE || block[at] === 0)) at += 1;
  while (end > at && (block[end - 1] === SPACE || block[end - 1] === 0)) end -= 1;
  let value = 0;
  for (; at < end; at += 1) {
    const byte = block[at] ?? 0;
    if (byte === 0) break;
    const digit = byte - ZERO;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
}

/** A field in octal, or in GNU's base 256: top bit set, the rest two's complement, big-endian. */
export function parseNumeric(block: Uint8Array, start: number, length: number): number | undefined {
  const first = block[start] ?? 0;
  if ((first & 0x80) === 0) return parseOctal(block, start, length);
  const negative = (first & 0x40) !== 0;
  const invert = negative ? 0xff : 0;
  let value = (first ^ invert) & 0x7f;
  for (let at = start + 1; at < start + length; at += 1) value = value * 256 + ((block[at] ?? 0) ^ invert);
  if (!Number.isSafeInteger(value)) return negative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return negative ? -value - 1 : value;
}

/** Decimal text of a PAX record. `undefined` when it is not a 64-bit integer. */
export function parseDecimal(text: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  return value < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

export interface Time {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** `seconds[.fraction]` of a PAX record, cut at nanoseconds, with nanoseconds counted forwards. `undefined` as above. */
export function parseTime(text: string): Time | undefined {
  const dot = text.indexOf('.');
  const whole = dot < 0 ? text : text.slice(0, dot);
  const fraction = dot < 0 ? '' : text.slice(dot + 1);
  const seconds = parseDecimal(whole);
  if (seconds === undefined || /\D/.test(fraction)) return undefined;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (nanoseconds === 0 || !whole.startsWith('-')) return { seconds, nanoseconds };
  return { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
