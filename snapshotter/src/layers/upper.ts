import { applyAttributes, newDirectory, newInode, setTime } from './inodes.ts';
import { MAX_NAME_BYTES } from './limits.ts';
import { LowestLayer } from './lowest.ts';
import { cleanPath, componentsOf, type Lookup, lookupIn, resolveIn, resolveLinks } from './paths.ts';
import type { Place } from './place.ts';
import { showBytes } from './place.ts';
import type { TarEntry } from './tar/reader.ts';
import type { Directory, File, Inode } from './tree.ts';
import { isWhiteout, WHITEOUT, whiteoutOf } from './whiteouts.ts';
import { addXattrs, changeMode } from './xattrs.ts';

export interface UpperOptions {
  readonly place: Place;
  /** Time of the directories that no entry names and no layer below has. */
  readonly createdSeconds: number;
  /** The upper directories of the layers below, the nearest first. None for the lowest layer. */
  readonly parents: readonly Directory[];
  /** Those layers merged. */
  readonly lower: Directory;
}

/** Where an entry goes. */
interface Parent {
  /** Clean, as the entry has it. */
  readonly path: string;
  /** Links followed; empty for the root. */
  readonly resolved: string;
  readonly directory: Directory;
}

/** A directory entry's time, set once more at the end of the layer on whatever its path then leads to. */
interface LateTime {
  readonly path: string;
  readonly seconds: number;
  readonly nanoseconds: number;
}

/**
 * What containerd's overlayfs snapshotter writes into a layer's upper directory, entry by entry. Where containerd
 * refuses what the OCI layer specification gives a meaning (a hard link to a file below; a whiteout after the name was
 * added again, or in the place of a parent directory), the meaning is taken.
 * Source: containerd 1.6 archive/tar.go, applyNaive with OverlayConvertWhiteout and parents; for the lowest layer see
 * {@link LowestLayer}.
 */
export class Upper {
  readonly root: Directory;
  /** Directories that hide what is below them. */
  readonly opaque = new Set<Directory>();
  readonly #options: UpperOptions;
  readonly #place: Place;
  readonly #find: Lookup;
  readonly #lateTimes: LateTime[] = [];
  readonly #lowest: LowestLayer | undefined;
  /** The last entry's parent: entries come in runs of one directory. Dropped when any directory or link changes. */
  #last: Parent | undefined;
  readonly #scratch = Buffer.allocUnsafe(MAX_NAME_BYTES);

  constructor(root: Directory, options: UpperOptions) {
    this.root = root;
    this.#options = options;
    this.#place = options.place;
    this.#find = lookupIn(root, options.place);
    this.#lowest = options.parents.length === 0 ? new LowestLayer(options.place) : undefined;
  }

  /** Applies one entry. @returns the file whose content follows, where it has any */
  apply(entry: TarEntry): File | undefined {
    const path = cleanPath(entry.name);
    if (path === '/') return undefined;
    this.#place.bound('pathBytes', path.length - 1, 'its path is too long');
    const slash = path.lastIndexOf('/');
    const name = this.#ownName(path.slice(slash + 1));
    const parent = this.#parent(path.slice(0, slash) || '/');
    const whiteout = whiteoutOf(name, this.#place);
    if (whiteout === undefined) return this.#create(parent, name, path, entry);
    if (whiteout.kind === 'name') this.#whiteOut(parent, this.#ownName(whiteout.hides));
    else if (this.#lowest === undefined) this.opaque.add(parent.directory);
    else {
      this.#last = undefined;
      this.#lowest.clear(parent.directory, parent.resolved);
    }
    return undefined;
  }

  /** Sets the directories' times. Call it once, after the last entry. */
  finish(): void {
    for (const { path, seconds, nanoseconds } of this.#lateTimes) {
      const resolved = resolveIn(this.root, path, this.#place);
      const node = resolved === undefined ? undefined : this.#find(resolved);
      if (node !== undefined) setTime(node, seconds, nanoseconds);
    }
    this.#lateTimes.length = 0;
  }

  #create(parent: Parent, name: string, path: string, entry: TarEntry): File | undefined {
    const { entries } = parent.directory;
    const existing = entries.get(name);
    const merges = existing?.kind === 'directory' && entry.kind === 'directory';
    if (existing !== undefined && !merges) this.#remove(parent, name, existing);
    if (entry.kind === 'global') return undefined;
    const inode = merges ? existing : this.#inodeFor(entry, parent.directory, path);
    for (const [key, value] of entry.xattrs ?? []) this.#place.addMetadata(key.length + value.length);
    applyAttributes(inode, entry, this.#place);
    if (!merges) entries.set(name, inode);
    if (inode.kind === 'symlink') this.#last = undefined;
    if (entry.kind === 'directory') this.#lateTimes.push({ path, ...entry.mtime });
    if (merges) this.#lowest?.named(existing);
    return entry.kind === 'file' && inode.kind === 'file' ? inode : undefined;
  }

  #remove(parent: Parent, name: string, existing: Inode): void {
    parent.directory.entries.delete(name);
    if (existing.kind === 'directory' || existing.kind === 'symlink') this.#last = undefined;
    this.#lowest?.removed(existing, `${parent.resolved}/${name}`);
  }

  #inodeFor(entry: TarEntry, directory: Directory, path: string): Inode {
    if (entry.kind === 'hardlink') return this.#linkTarget(entry.linkName, path);
    if (entry.kind === 'symlink') {
      if (entry.linkName === '') throw this.#place.invalid('it is a symbolic link without a target');
      this.#place.bound('pathBytes', entry.linkName.length, 'its link target is too long');
      this.#place.addMetadata(entry.linkName.length);
    }
    const inode = newInode(entry, directory);
    if (inode === undefined)
      throw this.#place.invalid(`it is of the type ${JSON.stringify(entry.type)}, which no layer may have`);
    return inode;
  }

  /**
   * The inode that a hard link names: links in its parents are followed, one at its end is itself the target.
   * A file below is shared, so that all its names stay one file, as in a tree that is copied layer by layer.
   */
  #linkTarget(linkName: string, path: string): Inode {
    this.#place.bound('pathBytes', linkName.length, 'its link target is too long');
    const target = showBytes(linkName);
    const slash = linkName.lastIndexOf('/');
    const find = (lookup: Lookup): { node: Inode | undefined; at: string | undefined } => {
      const parent = slash < 0 ? '/' : resolveLinks(lookup, linkName.slice(0, slash + 1));
      const at = parent === undefined ? undefined : cleanPath(`${parent}/${linkName.slice(slash + 1)}`);
      return { node: at === undefined ? undefined : lookup(at), at };
    };
    let found = find(this.#find);
    if (found.node === undefined) {
      found = find((at) => this.#findMerged(at));
      if (found.at === path) found.node = undefined;
    }
    if (found.node === undefined)
      throw this.#place.invalid(
        `it is a hard link to ${target}, which is not in this layer before it, nor below`,
      );
    if (found.node.kind === 'directory')
      throw this.#place.invalid(`it is a hard link to the directory ${target}`);
    return found.node === WHITEOUT ? { ...WHITEOUT } : found.node;
  }

  #whiteOut(parent: Parent, name: string): void {
    const existing = parent.directory.entries.get(name);
    if (this.#lowest !== undefined) {
      if (existing !== undefined) this.#remove(parent, name, existing);
    } else if (existing === undefined) parent.directory.entries.set(name, WHITEOUT);
    else if (existing.kind === 'directory') this.opaque.add(existing);
  }

  /** The directory at `path`, links followed; made, with all above it, where it is not yet. */
  #parent(path: string): Parent {
    if (this.#last?.path === path) return this.#last;
    const resolved = resolveIn(this.root, path, this.#place);
    if (resolved === undefined)
      throw this.#place.invalid('its path leads through symbolic links in a circle, or on without end');
    this.#place.bound('pathBytes', resolved.length - 1, 'its path is too long');
    let directory = this.root;
    let at = '';
    for (const component of componentsOf(resolved)) {
      at += `/${component}`;
      const child = directory.entries.get(component);
      if (child?.kind === 'directory') {
        directory = child;
        continue;
      }
      if (child !== undefined && !isWhiteout(child))
        throw this.#place.invalid(`${showBytes(at)}, above it, is not a directory in this layer`);
      const name = this.#ownName(component);
      const made = this.#implicit(directory, at);
      if (child !== undefined) this.opaque.add(made);
      this.#lowest?.madeImplicit(made, at);
      directory.entries.set(name, made);
      directory = made;
    }
    this.#last = { path, resolved: at, directory };
    return this.#last;
  }

  /** A directory that no entry names takes the attributes of the nearest layer's that has it. */
  #implicit(parent: Directory, path: string): Directory {
    this.#place.addEntry();
    const directory = newDirectory(parent, this.#options.createdSeconds);
    for (const upper of this.#options.parents) {
      const found = findDirectory(upper, path, this.#place);
      if (found === 'missing') continue;
      if (found === 'hidden') break;
      directory.uid = found.uid;
      directory.gid = found.gid;
      directory.mtimeSeconds = found.mtimeSeconds;
      directory.mtimeNanoseconds = found.mtimeNanoseconds;
      if (found.xattrs !== undefined) addXattrs(directory, found.xattrs, this.#place);
      changeMode(directory, found.mode);
      break;
    }
    return directory;
  }

  /** What an overlay of this unfinished layer over those below has at `path`. */
  #findMerged(path: string): Inode | undefined {
    this.#place.addPathSteps(path.length);
    let upper: Inode | undefined = this.root;
    let lower: Inode | undefined = this.#options.lower;
    for (const component of componentsOf(path)) {
      const above: Inode | undefined = upper?.kind === 'directory' ? upper.entries.get(component) : undefined;
      const below: Inode | undefined = lower?.kind === 'directory' ? lower.entries.get(component) : undefined;
      if (isWhiteout(above)) return undefined;
      const hides = above !== undefined && (above.kind !== 'directory' || this.opaque.has(above));
      upper = above;
      lower = hides ? undefined : below;
      if (upper === undefined && lower === undefined) return undefined;
    }
    return upper ?? lower;
  }

  /** A name in memory of its own: a slice would keep the whole path alive. */
  #ownName(name: string): string {
    if (name.length > MAX_NAME_BYTES)
      throw this.#place.error(
        'limit_exceeded',
        `a name in its path has ${name.length} bytes; at most ${MAX_NAME_BYTES} fit`,
      );
    this.#place.addMetadata(name.length);
    return this.#scratch.toString('latin1', 0, this.#scratch.write(name, 'latin1'));
  }
}

/** What a layer's upper directory has at a path, its own links followed: nothing, a directory, or what hides one. */
function findDirectory(root: Directory, path: string, place: Place): Directory | 'missing' | 'hidden' {
  const resolved = resolveIn(root, path, place);
  if (resolved === undefined) return 'hidden';
  let node: Inode = root;
  for (const component of componentsOf(resolved)) {
    if (node.kind !== 'directory') return 'hidden';
    const next = node.entries.get(component);
    if (next === undefined) return 'missing';
    node = next;
  }
  return node.kind === 'directory' ? node : 'hidden';
}
