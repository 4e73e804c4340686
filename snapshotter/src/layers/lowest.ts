import type { Place } from './place.ts';
import type { Directory, Inode } from './tree.ts';

/**
 * Whiteouts of the lowest layer. containerd unpacks that one without an overlay, for there is nothing to lay it over:
 * there a whiteout removes what the same layer brought before it, and an opaque mark removes all of its directory that
 * no entry has named so far, with everything in it. So an implicit directory goes, even if an entry in it was named.
 * Source: containerd 1.6 archive/tar.go, the default convertWhiteout, and diff/apply/apply_linux.go, which takes it.
 */
export class LowestLayer {
  readonly #place: Place;
  /** Directories whose path no entry has named. */
  readonly #implicit = new Set<Directory>();
  /** Paths that an entry named and that were removed since: a directory made there is no implicit one. */
  readonly #namedBefore = new Set<string>();

  constructor(place: Place) {
    this.#place = place;
  }

  /** A parent directory was made that no entry names. */
  madeImplicit(directory: Directory, path: string): void {
    if (!this.#namedBefore.has(path)) this.#implicit.add(directory);
  }

  /** An entry named this directory. */
  named(directory: Directory): void {
    this.#implicit.delete(directory);
  }

  /** Must be told of all that is removed. */
  removed(inode: Inode, path: string): void {
    const implicit = inode.kind === 'directory' && this.#implicit.delete(inode);
    if (!implicit) {
      this.#place.addMetadata(path.length);
      this.#namedBefore.add(path);
    }
    if (inode.kind !== 'directory') return;
    for (const [name, child] of inode.entries) this.removed(child, `${path}/${name}`);
  }

  /** What an opaque mark does. */
  clear(directory: Directory, path: string): void {
    for (const [name, child] of directory.entries) {
      if (child.kind !== 'directory') continue;
      const at = `${path}/${name}`;
      if (this.#implicit.has(child)) {
        directory.entries.delete(name);
        this.removed(child, at);
      } else this.clear(child, at);
    }
  }
}
