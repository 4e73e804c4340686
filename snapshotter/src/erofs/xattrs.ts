import { DrakkarError } from '@drakkar/protocol';
import type { Inode } from '../layers/tree.ts';
import { alignUp, XATTR_ENTRY_BYTES, XATTR_HEADER_BYTES } from './format.ts';

/** Name spaces by their index on disk. The ACLs are whole names, with nothing left after the prefix. */
const PREFIXES: readonly (readonly [index: number, prefix: string])[] = [
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
  [1, 'user.'],
  [4, 'trusted.'],
  [6, 'security.'],
];

const MAX_SHARED_PER_INODE = 255;
/** `e_value_size` has 16 bits. */
const MAX_VALUE_BYTES = 0xffff;
/** `i_xattr_icount` has 16 bits. */
export const MAX_XATTR_BODY_BYTES = XATTR_HEADER_BYTES + 0xfffe * 4;

function splitName(name: string): { index: number; suffix: string } {
  for (const [index, prefix] of PREFIXES) {
    const whole = index === 2 || index === 3;
    if (whole ? name === prefix : name.startsWith(prefix) && name.length > prefix.length) {
      return { index, suffix: name.slice(prefix.length) };
    }
  }
  throw new DrakkarError('unsupported', `EROFS cannot hold the xattr ${JSON.stringify(name.slice(0, 300))}`);
}

/** @throws `unsupported` for a name or value that the format has no room for */
export function encodeXattr(name: string, value: Uint8Array): Buffer {
  const { index, suffix } = splitName(name);
  if (suffix.length > 255 || value.length > MAX_VALUE_BYTES) {
    throw new DrakkarError(
      'unsupported',
      `the xattr ${JSON.stringify(name.slice(0, 300))} is too long: ${value.length} bytes; the limit is ${MAX_VALUE_BYTES}`,
    );
  }
  const entry = Buffer.alloc(alignUp(XATTR_ENTRY_BYTES + suffix.length + value.length, 4));
  entry.writeUInt8(suffix.length, 0);
  entry.writeUInt8(index, 1);
  entry.writeUInt16LE(value.length, 2);
  entry.write(suffix, XATTR_ENTRY_BYTES, 'latin1');
  entry.set(value, XATTR_ENTRY_BYTES + suffix.length);
  return entry;
}

/** @throws `invalid_content` for an entry that passes the end of `bytes` or has an unknown name space */
export function decodeXattr(
  bytes: Buffer,
  at: number,
): { readonly name: string; readonly value: Uint8Array; readonly lengthBytes: number } {
  const refuse = (why: string): never => {
    throw new DrakkarError('invalid_content', `an xattr ${why}`);
  };
  if (at < 0 || at + XATTR_ENTRY_BYTES > bytes.length) refuse('lies out of bounds');
  const nameAt = at + XATTR_ENTRY_BYTES;
  const valueAt = nameAt + bytes.readUInt8(at);
  const end = valueAt + bytes.readUInt16LE(at + 2);
  if (end > bytes.length) refuse('lies out of bounds');
  const index = bytes.readUInt8(at + 1);
  const prefix = PREFIXES.find(([known]) => known === index)?.[1] ?? refuse(`has the name space ${index}`);
  const name = prefix + bytes.toString('latin1', nameAt, valueAt);
  if (name.includes('\0')) refuse('has a NUL in its name');
  return { name, value: Uint8Array.from(bytes.subarray(valueAt, end)), lengthBytes: alignUp(end - at, 4) };
}

/**
 * The xattrs of an image: those that two or more inodes have are kept once, in the shared area, and named by
 * number; the others stand with their inode.
 */
export class XattrTable {
  /** Encoded entry as `latin1` → its uses; then, when sealed, the shared ones → their number. */
  readonly #uses = new Map<string, number>();
  readonly #ids = new Map<string, number>();
  readonly #shared: Buffer[] = [];
  #sharedBytes = 0;

  /** Encoded, in the order of their names, so that the order of arrival leaves no trace. */
  static entriesOf(inode: Inode): Buffer[] {
    if (inode.xattrs === undefined || inode.xattrs.size === 0) return [];
    return [...inode.xattrs]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => encodeXattr(name, value));
  }

  count(inode: Inode): void {
    for (const entry of XattrTable.entriesOf(inode)) {
      const key = entry.toString('latin1');
      const uses = (this.#uses.get(key) ?? 0) + 1;
      this.#uses.set(key, uses);
      if (uses === 2) {
        this.#ids.set(key, this.#sharedBytes / 4);
        this.#shared.push(entry);
        this.#sharedBytes += entry.length;
      }
    }
  }

  get sharedBytes(): number {
    return this.#sharedBytes;
  }

  sharedArea(): Buffer {
    return Buffer.concat(this.#shared);
  }

  /** What follows the inode: header, numbers of shared entries, other entries. Empty where there are no xattrs. */
  body(inode: Inode): Buffer {
    const entries = XattrTable.entriesOf(inode);
    if (entries.length === 0) return Buffer.alloc(0);
    const ids: number[] = [];
    const own: Buffer[] = [];
    for (const entry of entries) {
      const id = this.#ids.get(entry.toString('latin1'));
      if (id !== undefined && ids.length < MAX_SHARED_PER_INODE) ids.push(id);
      else own.push(entry);
    }
    const head = Buffer.alloc(XATTR_HEADER_BYTES + ids.length * 4);
    head.writeUInt8(ids.length, 4);
    ids.forEach((id, index) => {
      head.writeUInt32LE(id, XATTR_HEADER_BYTES + index * 4);
    });
    const body = Buffer.concat([head, ...own]);
    if (body.length > MAX_XATTR_BODY_BYTES) {
      throw new DrakkarError(
        'unsupported',
        `the xattrs of one file have ${body.length} bytes; EROFS holds ${MAX_XATTR_BODY_BYTES}`,
      );
    }
    return body;
  }
}
