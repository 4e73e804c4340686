import type { Place } from '../place.ts';

/** The records of one PAX header that mean something to us. Strings are bytes as `latin1`. */
export interface PaxRecords {
  readonly values: ReadonlyMap<string, string>;
  /** `SCHILY.xattr.*` without the prefix; values may have any bytes. */
  readonly xattrs: Map<string, Uint8Array> | undefined;
}

const XATTR_PREFIX = 'SCHILY.xattr.';
const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
/** `5 a=\n`: the shortest record. */
const SHORTEST_RECORD = 5;

const KNOWN = new Set([
  'path',
  'linkpath',
  'size',
  'uid',
  'gid',
  'mtime',
  'GNU.sparse.major',
  'GNU.sparse.minor',
  'GNU.sparse.name',
  'GNU.sparse.size',
  'GNU.sparse.realsize',
  'GNU.sparse.numblocks',
  'GNU.sparse.map',
]);

/**
 * Reads `LENGTH KEY=VALUE\n` records. The lengths rule, so values may hold newlines and NULs.
 * GNU sparse 0.0 repeats `offset` and `numbytes`; they become the `map` of 0.1.
 *
 * @throws `invalid_content` | `limit_exceeded`
 */
export function parsePax(bytes: Buffer, place: Place): PaxRecords {
  const values = new Map<string, string>();
  const sparse: string[] = [];
  let xattrs: Map<string, Uint8Array> | undefined;
  let xattrBytes = 0;
  for (let at = 0; at < bytes.length; ) {
    const record = recordAt(bytes, at, place);
    at = record.end;
    const { key, value } = record;
    if (key.startsWith(XATTR_PREFIX)) {
      const name = key.slice(XATTR_PREFIX.length);
      xattrBytes += name.length + value.length;
      place.bound('xattrBytes', xattrBytes, 'too many bytes of extended attributes');
      xattrs ??= new Map();
      xattrs.set(name, new Uint8Array(value));
    } else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      const expected = sparse.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
      if (key !== expected) throw place.invalid('its GNU sparse 0.0 records are out of order');
      sparse.push(value.toString('latin1'));
    } else if (KNOWN.has(key)) {
      if ((key === 'path' || key === 'linkpath') && value.includes(0))
        throw place.invalid(`its PAX record ${key} has a NUL`);
      values.set(key, value.toString('latin1'));
    }
  }
  if (sparse.length > 0) values.set('GNU.sparse.map', sparse.join(','));
  return { values, xattrs };
}

function recordAt(bytes: Buffer, start: number, place: Place): { key: string; value: Buffer; end: number } {
  const refuse = (why: string): Error => place.invalid(`its PAX header ${why}`);
  let at = start;
  let length = 0;
  for (; bytes[at] !== SPACE; at += 1) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9 || length > bytes.length) throw refuse('has a record without a length');
    length = length * 10 + digit;
  }
  const end = start + length;
  if (length < SHORTEST_RECORD || end > bytes.length || end <= at + 1)
    throw refuse('has a record with a wrong length');
  if (bytes[end - 1] !== NEWLINE) throw refuse('has a record that does not end in a newline');
  const equals = bytes.indexOf(EQUALS, at + 1);
  if (equals < 0 || equals >= end) throw refuse('has a record without "="');
  const key = bytes.toString('latin1', at + 1, equals);
  if (key === '' || key.includes('\0')) throw refuse('has a record without a proper key');
  return { key, value: bytes.subarray(equals + 1, end - 1), end };
}
