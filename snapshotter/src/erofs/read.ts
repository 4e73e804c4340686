import { DrakkarError } from '@drakkar/protocol';
import type { Attributes, Directory, Inode } from '../layers/tree.ts';
import { type DirectoryEntry, decodeDirectoryBlock } from './directory.ts';
import { BLOCK_BYTES, KINDS } from './format.ts';
import { InodeReader, type InodeRecord } from './read-inode.ts';
import { decodeHeader, type Superblock } from './superblock.ts';

/** Bounds on what a reader takes from an image it has no reason to trust. */
export interface ReadLimits {
  readonly inodes: number;
  /** Names in all directories. */
  readonly entries: number;
  /** Chunk indexes of all files. */
  readonly chunks: number;
  /** Bytes of all xattrs, shared ones counted at each use. */
  readonly xattrBytes: number;
}

export const DEFAULT_READ_LIMITS: ReadLimits = {
  inodes: 8 * 1024 * 1024,
  entries: 16 * 1024 * 1024,
  chunks: 16 * 1024 * 1024,
  xattrBytes: 256 * 1024 * 1024,
};

export interface ReadImage extends Superblock {
  readonly root: Directory;
}

interface OpenDirectory {
  readonly directory: Directory;
  readonly record: InodeRecord;
  readonly parentNid: number;
}

/**
 * Reads a metadata image of ours back into a tree, trusting nothing in it: every offset, length, count and link is
 * checked, and what our writer never writes is refused.
 * @throws `invalid_content` | `limit_exceeded`
 */
export function readErofs(image: Uint8Array, limits: ReadLimits = DEFAULT_READ_LIMITS): ReadImage {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  const superblock = decodeHeader(bytes);
  const reader = new InodeReader(bytes, superblock, limits);
  const seen = new Map<number, { readonly inode: Inode; readonly links: number; names: number }>();
  let entries = 0;

  const open = (nid: number): { inode: Inode; record: InodeRecord } => {
    if (seen.size >= limits.inodes) {
      throw new DrakkarError('limit_exceeded', `the image has more than ${limits.inodes} inodes`);
    }
    const record = reader.read(nid);
    const inode = inodeOf(reader, record);
    seen.set(nid, { inode, links: record.links, names: 1 });
    return { inode, record };
  };

  const top = open(superblock.rootNid);
  if (top.inode.kind !== 'directory') return refuse('has a root that is no directory');
  const root = top.inode;
  const pending: OpenDirectory[] = [{ directory: root, record: top.record, parentNid: superblock.rootNid }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { directory, record, parentNid } = next;
    let subdirectories = 0;
    let previous: string | undefined;
    const dots = new Set<string>();
    for (const entry of entriesOf(reader, record)) {
      if (++entries > limits.entries) {
        throw new DrakkarError('limit_exceeded', `the image has more than ${limits.entries} names`);
      }
      if (previous !== undefined && previous >= entry.name) refuse('has a directory that is not sorted');
      previous = entry.name;
      if (entry.name === '.' || entry.name === '..') {
        const wanted = entry.name === '.' ? record.nid : parentNid;
        if (entry.nid !== wanted) refuse(`has a directory whose ${entry.name} leads elsewhere`);
        dots.add(entry.name);
        continue;
      }
      const known = seen.get(entry.nid);
      if (known !== undefined) {
        if (known.inode.kind === 'directory') refuse('has a directory with two names');
        known.names += 1;
        directory.entries.set(entry.name, known.inode);
      } else {
        const child = open(entry.nid);
        directory.entries.set(entry.name, child.inode);
        if (child.inode.kind === 'directory') {
          subdirectories += 1;
          pending.push({ directory: child.inode, record: child.record, parentNid: record.nid });
        }
      }
      const kind = directory.entries.get(entry.name)?.kind ?? 'file';
      if (KINDS[kind].entryType !== entry.entryType) refuse('has a name whose type is not that of its inode');
    }
    if (dots.size !== 2) refuse('has a directory without . or ..');
    if (record.links !== 2 + subdirectories) refuse('has a directory with a wrong link count');
  }
  for (const { inode, links, names } of seen.values()) {
    if (inode.kind !== 'directory' && links !== names) refuse('has a file with a wrong link count');
  }
  if (seen.size !== superblock.inodeCount) refuse('has a wrong number of inodes');
  return { ...superblock, root };
}

function refuse(why: string): never {
  throw new DrakkarError('invalid_content', `the EROFS image ${why}`);
}

function* entriesOf(reader: InodeReader, record: InodeRecord): Generator<DirectoryEntry, void, undefined> {
  const blocks = Math.ceil(record.sizeBytes / BLOCK_BYTES);
  if (blocks === 0) refuse('has a directory of no bytes');
  for (let block = 0; block < blocks; block++) yield* decodeDirectoryBlock(reader.block(record, block));
}

function inodeOf(reader: InodeReader, record: InodeRecord): Inode {
  const attributes: Attributes = {
    mode: record.mode,
    uid: record.uid,
    gid: record.gid,
    mtimeSeconds: record.mtimeSeconds,
    mtimeNanoseconds: record.mtimeNanoseconds,
    xattrs: reader.xattrs(record),
  };
  switch (record.kind) {
    case 'file':
      return { kind: 'file', ...attributes, content: reader.content(record) };
    case 'directory':
      return { kind: 'directory', ...attributes, entries: new Map() };
    case 'symlink':
      return { kind: 'symlink', ...attributes, target: reader.link(record) };
    case 'character':
    case 'block':
      return { kind: record.kind, ...attributes, ...reader.device(record) };
    case 'fifo':
      return { kind: 'fifo', ...attributes };
  }
}
