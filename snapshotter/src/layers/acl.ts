/**
 * POSIX access control lists as extended attributes carry them: a version, then per entry a tag, permissions and
 * an id. Source: include/uapi/linux/posix_acl_xattr.h.
 */
interface AclEntry {
  readonly tag: number;
  permissions: number;
  readonly id: number;
}

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const USER_OBJECT = 0x01;
const USER = 0x02;
const GROUP_OBJECT = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
const NO_ID = 0xffffffff;
const RANK = [USER_OBJECT, USER, GROUP_OBJECT, GROUP, MASK, OTHER];

export const ACCESS_ACL = 'system.posix_acl_access';
export const DEFAULT_ACL = 'system.posix_acl_default';

/** The same list as the kernel gives it back. `undefined` when the kernel would refuse it (posix_acl_valid). */
export function normalizeAcl(value: Uint8Array): Uint8Array | undefined {
  const entries = parse(value);
  return entries === undefined ? undefined : encode(entries);
}

/**
 * What remains of an access list after `chmod(mode)`. `undefined` when the mode says all that it does: then none is
 * kept. Source: fs/posix_acl.c, __posix_acl_chmod and posix_acl_equiv_mode.
 */
export function aclAfterChmod(value: Uint8Array, mode: number): Uint8Array | undefined {
  const entries = parse(value);
  if (
    entries === undefined ||
    entries.every(({ tag }) => tag === USER_OBJECT || tag === GROUP_OBJECT || tag === OTHER)
  )
    return undefined;
  const group = entries.find(({ tag }) => tag === MASK) ?? entries.find(({ tag }) => tag === GROUP_OBJECT);
  for (const entry of entries) {
    if (entry.tag === USER_OBJECT) entry.permissions = (mode >> 6) & 7;
    else if (entry === group) entry.permissions = (mode >> 3) & 7;
    else if (entry.tag === OTHER) entry.permissions = mode & 7;
  }
  return encode(entries);
}

function parse(value: Uint8Array): AclEntry[] | undefined {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (value.length < HEADER_BYTES || (value.length - HEADER_BYTES) % ENTRY_BYTES !== 0) return undefined;
  if (view.getUint32(0, true) !== VERSION) return undefined;
  const entries: AclEntry[] = [];
  for (let at = HEADER_BYTES; at < value.length; at += ENTRY_BYTES) {
    const tag = view.getUint16(at, true);
    const id = tag === USER || tag === GROUP ? view.getUint32(at + 4, true) : NO_ID;
    entries.push({ tag, permissions: view.getUint16(at + 2, true), id });
  }
  return isValid(entries) ? entries : undefined;
}

function isValid(entries: readonly AclEntry[]): boolean {
  let rank = 0;
  for (const [index, { tag, permissions, id }] of entries.entries()) {
    const named = tag === USER || tag === GROUP;
    const next = RANK.indexOf(tag);
    const repeated = index > 0 && next === rank && !named;
    if (next < rank || repeated || permissions > 7 || (named && id === NO_ID)) return false;
    rank = next;
  }
  const has = (wanted: number): boolean => entries.some(({ tag }) => tag === wanted);
  const needsMask = has(USER) || has(GROUP);
  return has(USER_OBJECT) && has(GROUP_OBJECT) && has(OTHER) && (has(MASK) || !needsMask);
}

function encode(entries: readonly AclEntry[]): Uint8Array {
  const value = new Uint8Array(HEADER_BYTES + entries.length * ENTRY_BYTES);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  for (const [index, { tag, permissions, id }] of entries.entries()) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, permissions, true);
    view.setUint32(at + 4, id, true);
  }
  return value;
}
