import type { Place } from './place.ts';
import { SAME_OWNER, type TarEntry } from './tar/reader.ts';
import type { Attributes, Directory, File, Inode } from './tree.ts';
import { EMPTY_CONTENT } from './tree.ts';
import { addXattrs, changeMode, dropCapability, inheritedXattrs } from './xattrs.ts';

const SETGID = 0o2000;
const SYMLINK_MODE = 0o777;
export const IMPLICIT_DIRECTORY_MODE = 0o755;

/** Bits of major and minor numbers that reach mknod(2). Source: include/linux/kdev_t.h, new_decode_dev. */
const MAJOR_MASK = 0xfff;
const MINOR_MASK = 0xfffff;

/** The latest time that containerd sets; it takes any other for 0. Source: containerd archive/time.go, boundTime. */
const LATEST = { seconds: 9_223_372_036, nanoseconds: 854_775_807 };

/** What the kernel gives to an inode that is new in `parent`: its group where the parent is setgid, else 0. */
function freshGroup(parent: Directory): number {
  return (parent.mode & SETGID) === 0 ? 0 : parent.gid;
}

export function newDirectory(parent: Directory, mtimeSeconds: number): Directory {
  const directory: Directory = {
    kind: 'directory',
    mode: IMPLICIT_DIRECTORY_MODE,
    uid: 0,
    gid: freshGroup(parent),
    mtimeSeconds,
    mtimeNanoseconds: 0,
    xattrs: inheritedXattrs('directory', parent.xattrs),
    entries: new Map(),
  };
  changeMode(directory, IMPLICIT_DIRECTORY_MODE);
  return directory;
}

/** A new inode for an entry, before {@link applyAttributes}. `undefined` for kinds that are no inode of their own. */
export function newInode(entry: TarEntry, parent: Directory): Inode | undefined {
  switch (entry.kind) {
    case 'file':
      return newFile(parent);
    case 'directory':
      return newDirectory(parent, 0);
    case 'symlink':
      return { kind: 'symlink', ...freshAttributes('symlink', parent), target: entry.linkName };
    case 'fifo':
      return { kind: 'fifo', ...freshAttributes('fifo', parent) };
    case 'character':
    case 'block':
      return {
        kind: entry.kind,
        ...freshAttributes(entry.kind, parent),
        major: entry.major & MAJOR_MASK,
        minor: entry.minor & MINOR_MASK,
      };
    default:
      return undefined;
  }
}

/** Written out in full: V8 gives an object literal with a spread in it 24 bytes more, and there may be millions. */
function newFile(parent: Directory): File {
  return {
    kind: 'file',
    mode: 0,
    uid: 0,
    gid: freshGroup(parent),
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    xattrs: inheritedXattrs('file', parent.xattrs),
    content: EMPTY_CONTENT,
  };
}

function freshAttributes(kind: Inode['kind'], parent: Directory): Attributes {
  return {
    mode: kind === 'symlink' ? SYMLINK_MODE : 0,
    uid: 0,
    gid: freshGroup(parent),
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    xattrs: inheritedXattrs(kind, parent.xattrs),
  };
}

/** Owner, attributes, mode, time: in containerd's order, which decides what survives (createTarFile). */
export function applyAttributes(inode: Inode, entry: TarEntry, place: Place): void {
  if (entry.uid !== SAME_OWNER) inode.uid = entry.uid;
  if (entry.gid !== SAME_OWNER) inode.gid = entry.gid;
  dropCapability(inode);
  if (entry.xattrs !== undefined) addXattrs(inode, entry.xattrs, place);
  changeMode(inode, entry.mode);
  setTime(inode, entry.mtime.seconds, entry.mtime.nanoseconds);
}

export function setTime(inode: Inode, seconds: number, nanoseconds: number): void {
  const late = seconds > LATEST.seconds || (seconds === LATEST.seconds && nanoseconds > LATEST.nanoseconds);
  const none = seconds < 0 || late;
  inode.mtimeSeconds = none ? 0 : seconds;
  inode.mtimeNanoseconds = none ? 0 : nanoseconds;
}
