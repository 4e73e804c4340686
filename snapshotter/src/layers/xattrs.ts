import { ACCESS_ACL, aclAfterChmod, DEFAULT_ACL, normalizeAcl } from './acl.ts';
import { MAX_NAME_BYTES } from './limits.ts';
import { type Place, showBytes } from './place.ts';
import type { Attributes, Inode } from './tree.ts';

/**
 * What `setxattr`, `chmod` and `chown` make of extended attributes, so that an inode ends with those that containerd's
 * unpacking would leave on a file system. Maps are never changed once an inode has them: inodes may share them.
 */

type Xattrs = Attributes['xattrs'];

const CAPABILITY = 'security.capability';
/** vfs_cap_data of revision 2 and vfs_ns_cap_data of 3, by size. Source: include/uapi/linux/capability.h. */
const CAPABILITY_REVISIONS: Readonly<Record<number, number>> = { 20: 2, 24: 3 };

/**
 * Adds `added` to the inode's own. Those that a file system has no room for (`trusted.*`, unknown name spaces,
 * `user.*` on anything but files and directories) are dropped, as containerd does.
 *
 * @throws `invalid_content` for a value that the kernel refuses; `limit_exceeded`
 */
export function addXattrs(inode: Inode, added: ReadonlyMap<string, Uint8Array>, place: Place): void {
  const xattrs = new Map(inode.xattrs);
  for (const [name, value] of added) {
    if (!isKept(name, inode)) continue;
    if (name.length > MAX_NAME_BYTES)
      throw place.invalid(
        `the name of its extended attribute ${showBytes(name)} is over ${MAX_NAME_BYTES} bytes`,
      );
    if (name === CAPABILITY && !isCapability(value)) throw refused(place, name);
    if (name !== ACCESS_ACL && name !== DEFAULT_ACL) xattrs.set(name, value);
    else if (value.length === 0) xattrs.delete(name);
    else {
      const acl = normalizeAcl(value);
      if (acl === undefined) throw refused(place, name);
      xattrs.set(name, acl);
    }
  }
  let bytes = 0;
  for (const [name, value] of xattrs) bytes += name.length + value.length;
  place.bound('xattrBytes', bytes, 'too many bytes of extended attributes');
  inode.xattrs = orNone(xattrs);
}

/** `chown` of anything but a directory takes its capabilities away. Source: fs/open.c, chown_common. */
export function dropCapability(inode: Inode): void {
  if (inode.kind === 'directory' || !inode.xattrs?.has(CAPABILITY)) return;
  inode.xattrs = without(inode.xattrs, CAPABILITY);
}

/** Sets the permission bits, which an access list follows. Symbolic links keep theirs. */
export function changeMode(inode: Inode, mode: number): void {
  if (inode.kind === 'symlink') return;
  inode.mode = mode;
  const acl = inode.xattrs?.get(ACCESS_ACL);
  if (acl === undefined) return;
  const after = aclAfterChmod(acl, mode);
  inode.xattrs =
    after === undefined ? without(inode.xattrs, ACCESS_ACL) : new Map(inode.xattrs).set(ACCESS_ACL, after);
}

/** What a new inode gets from its directory: the default list. Source: fs/posix_acl.c, posix_acl_create. */
export function inheritedXattrs(kind: Inode['kind'], parent: Xattrs): Xattrs {
  const acl = parent?.get(DEFAULT_ACL);
  if (acl === undefined || kind === 'symlink') return undefined;
  const inherited = new Map([[ACCESS_ACL, acl]]);
  return kind === 'directory' ? inherited.set(DEFAULT_ACL, acl) : inherited;
}

function isKept(name: string, inode: Inode): boolean {
  const dot = name.indexOf('.');
  if (dot < 0 || dot === name.length - 1) return false;
  const hasContent = inode.kind === 'file' || inode.kind === 'directory';
  switch (name.slice(0, dot)) {
    case 'user':
      return hasContent;
    case 'security':
      return true;
    default:
      if (name === ACCESS_ACL) return inode.kind !== 'symlink';
      return name === DEFAULT_ACL && inode.kind === 'directory';
  }
}

function isCapability(value: Uint8Array): boolean {
  return value[3] !== undefined && value[3] === CAPABILITY_REVISIONS[value.length];
}

function refused(place: Place, name: string): Error {
  return place.invalid(`its extended attribute ${name} has a value that Linux does not accept`);
}

function without(xattrs: Xattrs, name: string): Xattrs {
  const rest = new Map(xattrs);
  rest.delete(name);
  return orNone(rest);
}

function orNone(xattrs: Map<string, Uint8Array>): Xattrs {
  return xattrs.size === 0 ? undefined : xattrs;
}
