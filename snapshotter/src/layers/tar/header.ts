import type { Place } from '../place.ts';
import { parseNumeric, parseOctal } from './numbers.ts';

/** Everything in tar comes in blocks of this size. POSIX.1-2017, pax, "ustar Interchange Format". */
export const BLOCK_BYTES = 512;

/** A header block as it stands, before PAX records and GNU long names. Strings are bytes as `latin1`. */
export interface RawHeader {
  /** The type flag, one character. */
  readonly type: string;
  /** With GNU's magic, which old GNU sparse headers need. */
  readonly gnu: boolean;
  name: string;
  linkName: string;
  size: number;
  readonly mode: number;
  uid: number;
  gid: number;
  mtime: number;
  readonly major: number;
  readonly minor: number;
}

const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;
const MAGIC_AT = 257;
const PREFIX_AT = 345;

type Dialect = 'v7' | 'ustar' | 'star' | 'gnu';

export function isZeroBlock(block: Uint8Array): boolean {
  for (const byte of block) if (byte !== 0) return false;
  return true;
}

/** @throws `invalid_content` for a checksum or number that is not right */
export function parseHeader(block: Buffer, place: Place): RawHeader {
  if (!checksumHolds(block)) throw place.invalid('the tar header after it has a wrong checksum');
  const name = text(block, 0, 100);
  place.entry = name;
  const number = (what: string, start: number, length: number): number => {
    const value = parseNumeric(block, start, length);
    if (value === undefined) throw place.invalid(`its ${what} in the tar header is not a number`);
    return value;
  };
  const dialect = dialectOf(block);
  const type = text(block, 156, 1) || '\0';
  const device = dialect !== 'v7' && (type === '3' || type === '4');
  const header: RawHeader = {
    type,
    gnu: dialect === 'gnu',
    name: withPrefix(block, dialect, name),
    linkName: text(block, 157, 100),
    size: number('size', 124, 12),
    mode: number('mode', 100, 8),
    uid: number('uid', 108, 8),
    gid: number('gid', 116, 8),
    mtime: number('mtime', 136, 12),
    major: device ? number('device number', 329, 8) : 0,
    minor: device ? number('device number', 337, 8) : 0,
  };
  place.entry = header.name;
  return header;
}

/** NUL-terminated unless it fills its field. */
export function text(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString('latin1', start, end < 0 || end > start + length ? start + length : end);
}

/** The sum of all bytes, the checksum field read as spaces. Old Sun tars added the bytes as signed. */
function checksumHolds(block: Uint8Array): boolean {
  const expected = parseOctal(block, CHECKSUM_AT, CHECKSUM_BYTES);
  let sum = CHECKSUM_BYTES * 0x20;
  let high = 0;
  for (let at = 0; at < BLOCK_BYTES; at += 1) {
    if (at === CHECKSUM_AT) at += CHECKSUM_BYTES;
    const byte = block[at] ?? 0;
    sum += byte;
    high += byte >> 7;
  }
  return expected === sum || expected === sum - 256 * high;
}

function dialectOf(block: Buffer): Dialect {
  const magic = block.toString('latin1', MAGIC_AT, MAGIC_AT + 8);
  if (magic === 'ustar  \0') return 'gnu';
  if (!magic.startsWith('ustar\0')) return 'v7';
  return block.toString('latin1', 508, 512) === 'tar\0' ? 'star' : 'ustar';
}

function withPrefix(block: Buffer, dialect: Dialect, name: string): string {
  const prefix = prefixOf(block, dialect);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/**
 * GNU headers have times where ustar has the prefix. Go before 1.8 wrote GNU headers with a prefix there all the
 * same (golang/go#12594), and such layers exist: what does not parse as times and is ASCII is such a prefix.
 */
function prefixOf(block: Buffer, dialect: Dialect): string {
  if (dialect === 'v7') return '';
  if (dialect === 'ustar') return text(block, PREFIX_AT, 155);
  if (dialect === 'star') return text(block, PREFIX_AT, 131);
  const times = [345, 357].every((at) => block[at] === 0 || parseNumeric(block, at, 12) !== undefined);
  if (times) return '';
  const prefix = text(block, PREFIX_AT, 155);
  return [...prefix].every((character) => character < '\x80') ? prefix : '';
}
