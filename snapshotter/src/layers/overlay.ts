import type { Directory } from './tree.ts';
import { isWhiteout } from './whiteouts.ts';

/**
 * Lays one layer's upper directory over the merged tree of those below, by the rules of Linux's overlayfs: whiteouts
 * and whatever is no directory hide; directories merge, with the upper one's attributes, unless the upper one is opaque.
 *
 * Directories that need no merging are shared between the layers and the merged tree; those that this class made
 * itself are its own, and only those does it change. So the work is in proportion to the upper directory.
 */
export class Overlay {
  readonly #own = new WeakSet<Directory>();

  /** The root takes no attributes and no opaqueness from a layer. */
  applyRoot(lower: Directory, upper: Directory, opaque: ReadonlySet<Directory>): Directory {
    const merged = this.#own.has(lower) ? lower : this.#copy(lower, lower.entries);
    this.#fill(merged, upper, opaque);
    return merged;
  }

  #merge(lower: Directory, upper: Directory, opaque: ReadonlySet<Directory>): Directory {
    let merged = lower;
    if (this.#own.has(lower)) takeAttributes(merged, upper);
    else merged = this.#copy(upper, lower.entries);
    this.#fill(merged, upper, opaque);
    return merged;
  }

  #fill(merged: Directory, upper: Directory, opaque: ReadonlySet<Directory>): void {
    for (const [name, node] of upper.entries) {
      if (node.kind === 'directory') {
        const below = opaque.has(node) ? undefined : merged.entries.get(name);
        const result = below?.kind === 'directory' ? this.#merge(below, node, opaque) : this.#alone(node);
        merged.entries.set(name, result);
      } else if (isWhiteout(node)) merged.entries.delete(name);
      else merged.entries.set(name, node);
    }
  }

  /** A directory with nothing below it: itself, or a copy without whiteouts where it or one in it has any. */
  #alone(directory: Directory): Directory {
    let copy: Directory | undefined;
    for (const [name, node] of directory.entries) {
      if (node.kind === 'directory') {
        const clean = this.#alone(node);
        if (clean === node) continue;
        copy ??= this.#copy(directory, directory.entries);
        copy.entries.set(name, clean);
      } else if (isWhiteout(node)) {
        copy ??= this.#copy(directory, directory.entries);
        copy.entries.delete(name);
      }
    }
    return copy ?? directory;
  }

  #copy(attributes: Directory, entries: Directory['entries']): Directory {
    const copy: Directory = { ...attributes, entries: new Map(entries) };
    this.#own.add(copy);
    return copy;
  }
}

function takeAttributes(target: Directory, source: Directory): void {
  target.mode = source.mode;
  target.uid = source.uid;
  target.gid = source.gid;
  target.mtimeSeconds = source.mtimeSeconds;
  target.mtimeNanoseconds = source.mtimeNanoseconds;
  target.xattrs = source.xattrs;
}
