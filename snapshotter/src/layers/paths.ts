import type { Place } from './place.ts';
import type { Directory, File, Inode } from './tree.ts';

/** A link that leads through more links than this leads nowhere. Source: continuity fs/path.go, walkLink. */
const MAX_LINKS = 255;

/** A path that links make longer than this leads nowhere. Linux: PATH_MAX. */
const MAX_PATH_CHARACTERS = 4096;

/** `path` seen from the root, as an absolute path without `.`, `..` and empty components; `..` stops at the root. */
export function cleanPath(path: string): string {
  const absolute = path.startsWith('/') ? path : `/${path}`;
  if (!/\/(?:\.{0,2})(?:\/|$)/.test(absolute)) return absolute;
  const kept: string[] = [];
  for (const component of absolute.split('/')) {
    if (component === '..') kept.pop();
    else if (component !== '' && component !== '.') kept.push(component);
  }
  return `/${kept.join('/')}`;
}

/** The components of a clean path; none for the root. */
export function componentsOf(path: string): string[] {
  return path === '/' ? [] : path.slice(1).split('/');
}

/** The node at a clean absolute path, without following links. */
export function nodeAt(root: Directory, path: string): Inode | undefined {
  let node: Inode = root;
  for (const component of componentsOf(path)) {
    const next: Inode | undefined = node.kind === 'directory' ? node.entries.get(component) : undefined;
    if (next === undefined) return undefined;
    node = next;
  }
  return node;
}

/** All files of a tree under each of their names, by paths without a slash before them. */
export function* filesBelow(root: Directory): Generator<{ path: string; inode: File }, void, undefined> {
  const pending = [{ directory: root, path: '' }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const [name, inode] of next.directory.entries) {
      const path = `${next.path}${name}`;
      if (inode.kind === 'directory') pending.push({ directory: inode, path: `${path}/` });
      else if (inode.kind === 'file') yield { path, inode };
    }
  }
}

/** Something that finds nodes by clean absolute path without following links. */
export type Lookup = (path: string) => Inode | undefined;

export function lookupIn(root: Directory, place: Place): Lookup {
  return (path) => {
    place.addPathSteps(path.length);
    return nodeAt(root, path);
  };
}

/** {@link resolveLinks} in one tree. The common case of a path without any link costs one walk. */
export function resolveIn(root: Directory, path: string, place: Place): string | undefined {
  let node: Inode | undefined = root;
  for (const component of componentsOf(path)) {
    place.addPathSteps(1);
    node = node.kind === 'directory' ? node.entries.get(component) : undefined;
    if (node === undefined) return path;
    if (node.kind === 'symlink') return resolveLinks(lookupIn(root, place), path);
  }
  return path;
}

/**
 * Follows every symbolic link in `path`, the last component too, as containerd does: inside the root, clamped there,
 * and textually, so that `..` behind a link to a link steps back from the first link's target. What does not exist
 * counts as no link. Source: continuity fs/path.go, RootPath.
 *
 * @returns a clean path; `undefined` when the links go in a circle, or on without end
 */
export function resolveLinks(lookup: Lookup, path: string): string | undefined {
  let followed = 0;

  const targetOf = (at: string): string | undefined => {
    const node = at === '/' ? undefined : lookup(at);
    if (node?.kind !== 'symlink') return undefined;
    followed += 1;
    return node.target;
  };

  /** One pass: each link on the way is replaced once. */
  const pass = (current: string): string => {
    if (followed > MAX_LINKS) return '/';
    const slash = current.lastIndexOf('/');
    const last = current.slice(slash + 1);
    if (slash < 0) return targetOf(cleanPath(last)) ?? cleanPath(last);
    if (last === '') return slash === 0 ? '/' : pass(current.slice(0, slash));
    const parent = pass(current.slice(0, slash + 1));
    const here = cleanPath(`${parent}/${last}`);
    const target = targetOf(here);
    if (target === undefined) return here;
    return target.startsWith('/') ? target : cleanPath(`${parent}/${target}`);
  };

  for (let current = path; ; ) {
    const before = followed;
    const next = pass(current);
    if (followed > MAX_LINKS || next.length > MAX_PATH_CHARACTERS) return undefined;
    if (followed === before && cleanPath(next) === next) return next;
    current = next;
  }
}
