import { applyAttributes, newDirectory, newInode, setTime } from './inodes.ts';
import { MAX_NAME_BYTES } from './limits.ts';
import { cleanPath, componentsOf, type Lookup, lookupIn, resolveLinks } from './paths.ts';
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
  /** The upper directories of the layers below, the nearest first. */
  readonly parents: readonly Directory[];
  /** Those layers merged. */
  readonly lower: Directory;
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
 * Source: containerd 1.6 archive/tar.go, applyNaive with OverlayConvertWhiteout and parents.
 */
export class Upper {
  readonly root: Directory;
  /** Directories that hide what is below them. */
  readonly opaque = new Set<Directory>();
  readonly #options: UpperOptions;
  readonly #place: Place;
  readonly #find: Lookup;
  readonly #lateTimes: LateTime[] = [];
  /** The last entry's parent: entries come in runs of one directory. Dropped when any directory or link changes. */
  #last: { readonly path: string; readonly directory: Directory } | undefined;
  readonly #scratch = Buffer.allocUnsafe(MAX_NAME_BYTES);

  constructor(root: Directory, options: UpperOptions) {
    this.root = root;
    this.#options = options;
    this.#place = options.place;
    this.#find = lookupIn(root);
  }

  /** Applies one entry. @returns the file whose content follows, where it has any */
  apply(entry: TarEntry): File | undefined {
    const path = cleanPath(entry.name);
    if (path === '/') return undefined;
    this.#place.bound('pathBytes', path.length - 1, 'its path is too long');
    const slash = path.lastIndexOf('/');
    const name = this.#ownName(path.slice(slash + 1));
    const directory = this.#parent(path.slice(0, slash) || '/');
    const whiteout = whiteoutOf(name, this.#place);
    if (whiteout?.kind === 'opaque') {
      this.opaque.add(directory);
      return undefined;
    }
    if (whiteout?.kind === 'name') {
      this.#whiteOut(directory, this.#ownName(whiteout.hides));
      return undefined;
    }
    return this.#create(directory, name, path, entry);
  }

  /** Sets the directories' times. Call it once, after the last entry. */
  finish(): void {
    for (const { path, seconds, nanoseconds } of this.#lateTimes) {
      const resolved = this.#resolve(path);
      const node = resolved === undefined ? undefined : this.#find(resolved);
      if (node !== undefined) setTime(node, seconds, nanoseconds);
    }
    this.#lateTimes.length = 0;
  }

  #create(directory: Directory, name: string, path: string, entry: TarEntry): File | undefined {
    const existing = directory.entries.get(name);
    const merges = existing?.kind === 'directory' && entry.kind === 'directory';
    if (existing !== undefined && !merges) {
      directory.entries.delete(name);
      if (existing.kind === 'directory' || existing.kind === 'symlink') this.#last = undefined;
    }
    if (entry.kind === 'global') return undefined;
    const inode = merges ? existing : this.#inodeFor(entry, directory, path);
    applyAttributes(inode, entry, this.#place);
    if (!merges) directory.entries.set(name, inode);
    if (inode.kind === 'symlink') this.#last = undefined;
    if (entry.kind === 'directory') this.#lateTimes.push({ path, ...entry.mtime });
    return entry.kind === 'file' && inode.kind === 'file' ? inode : undefined;
  }

  #inodeFor(entry: TarEntry, directory: Directory, path: string): Inode {
    if (entry.kind === 'hardlink') return this.#linkTarget(entry.linkName, path);
    if (entry.kind === 'symlink') {
      if (entry.linkName === '') throw this.#place.invalid('it is a symbolic link without a target');
      this.#place.bound('pathBytes', entry.linkName.length, 'its link target is too long');
      this.#place.addMetadata(entry.linkName.length);
    }
    for (const [name, value] of entry.xattrs ?? []) this.#place.addMetadata(name.length + value.length);
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
    const target = showBytes(linkName);
    const slash = linkName.lastIndexOf('/');
    const resolveIn = (lookup: Lookup): { node: Inode | undefined; at: string | undefined } => {
      const parent = slash < 0 ? '/' : resolveLinks(lookup, cleanPath(linkName.slice(0, slash + 1)));
      const at = parent === undefined ? undefined : cleanPath(`${parent}/${linkName.slice(slash + 1)}`);
      return { node: at === undefined ? undefined : lookup(at), at };
    };
    let found = resolveIn(this.#find);
    if (found.node === undefined) {
      found = resolveIn((at) => this.#findMerged(at));
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

  #whiteOut(directory: Directory, name: string): void {
    const existing = directory.entries.get(name);
    if (existing === undefined) directory.entries.set(name, WHITEOUT);
    else if (existing.kind === 'directory') this.opaque.add(existing);
  }

  /** The directory at `path`, links followed; made, with all above it, where it is not yet. */
  #parent(path: string): Directory {
    if (this.#last?.path === path) return this.#last.directory;
    const resolved = this.#resolve(path);
    if (resolved === undefined)
      throw this.#place.invalid('its path leads through symbolic links in a circle');
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
      directory.entries.set(name, made);
      directory = made;
    }
    this.#last = { path, directory };
    return directory;
  }

  /** A directory that no entry names takes the attributes of the nearest layer's that has it. */
  #implicit(parent: Directory, path: string): Directory {
    this.#place.addEntry();
    const directory = newDirectory(parent, this.#options.createdSeconds);
    for (const upper of this.#options.parents) {
      const found = findDirectory(upper, path);
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

  /** Follows links; the common case of a path without any costs one walk. */
  #resolve(path: string): string | undefined {
    let node: Inode | undefined = this.root;
    for (const component of componentsOf(path)) {
      node = node.kind === 'directory' ? node.entries.get(component) : undefined;
      if (node === undefined) return path;
      if (node.kind === 'symlink') return resolveLinks(this.#find, path);
    }
    return path;
  }

  /** What an overlay of this unfinished layer over those below has at `path`. */
  #findMerged(path: string): Inode | undefined {
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
function findDirectory(root: Directory, path: string): Directory | 'missing' | 'hidden' {
  const lookup = lookupIn(root);
  const resolved = resolveLinks(lookup, path);
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
