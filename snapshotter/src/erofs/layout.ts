import { DrakkarError } from '@drakkar/protocol';
import { type Directory, EMPTY_CONTENT, type FileContent, type Inode } from '../layers/tree.ts';
import { type DirectoryShape, shapeOf, sortedNames } from './directory.ts';
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_BYTES,
  blocksOf,
  CHUNK_INDEX_BYTES,
  INODE_BYTES,
  INODE_SLOT_BYTES,
  MAX_CHUNK_BITS,
  MAX_LINK_BYTES,
  XATTR_HEADER_BYTES,
} from './format.ts';
import { type DeviceSlot, headerBytes } from './superblock.ts';
import { XattrTable } from './xattrs.ts';

export interface ImageLimits {
  readonly inodes: number;
  /** Chunk indexes of all files, holes included: 8 bytes of metadata each. */
  readonly chunks: number;
}

/** 16 Mi chunks of 1 MiB are 16 TiB of files, and 128 MiB of metadata. */
export const DEFAULT_IMAGE_LIMITS: ImageLimits = { inodes: 8 * 1024 * 1024, chunks: 16 * 1024 * 1024 };

/** What a directory needs to be written: its sorted names and, per name, the index of the inode it stands for. */
export interface DirectoryPlan extends DirectoryShape {
  readonly names: readonly string[];
  readonly children: Uint32Array;
}

/** Where everything lies. Inodes are numbered in breadth-first order, so that a directory's children are neighbours. */
export interface Layout {
  readonly inodes: readonly Inode[];
  /** Byte offset of each inode from the start of the inode area, a multiple of 32. */
  readonly offsets: Float64Array;
  readonly links: Uint32Array;
  readonly directories: ReadonlyMap<number, DirectoryPlan>;
  /** Bytes of a directory or link that stand behind the inode; the rest stands in blocks of its own. */
  readonly inlineBytes: Uint16Array;
  /** First block of those blocks, 0 where there are none. */
  readonly dataBlocks: Uint32Array;
  readonly xattrs: XattrTable;
  readonly xattrBlock: number;
  readonly metaBlock: number;
  /** Blocks of the whole image. */
  readonly blocks: number;
  readonly devices: readonly DeviceSlot[];
}

interface Walk {
  readonly inodes: Inode[];
  readonly links: number[];
  readonly directories: Map<number, DirectoryPlan>;
  readonly xattrs: XattrTable;
}

/** Breadth-first, names in byte order, each inode once. */
function walk(root: Directory, limits: ImageLimits): Walk {
  const inodes: Inode[] = [root];
  const links: number[] = [2];
  const indexes = new Map<Inode, number>([[root, 0]]);
  const parents = new Map<Directory, number>([[root, 0]]);
  const directories = new Map<number, DirectoryPlan>();
  const xattrs = new XattrTable();
  for (let at = 0; at < inodes.length; at++) {
    const inode = inodes[at];
    if (inode === undefined) break;
    xattrs.count(inode);
    if (inode.kind !== 'directory') continue;
    const names = sortedNames(inode.entries.keys());
    const children = new Uint32Array(names.length);
    names.forEach((name, position) => {
      const child = inode.entries.get(name);
      if (child === undefined) {
        children[position] = name === '.' ? at : (parents.get(inode) ?? 0);
        return;
      }
      let index = indexes.get(child);
      if (index === undefined) {
        index = inodes.push(child) - 1;
        indexes.set(child, index);
        links.push(child.kind === 'directory' ? 2 : 1);
        if (child.kind === 'directory') {
          parents.set(child, at);
          links[at] = (links[at] ?? 0) + 1;
        }
      } else if (child.kind === 'directory') {
        throw new DrakkarError('internal', `the directory ${JSON.stringify(name)} has two parents`);
      } else {
        links[index] = (links[index] ?? 0) + 1;
      }
      children[position] = index;
    });
    if (inodes.length > limits.inodes) {
      throw new DrakkarError('limit_exceeded', `the image has more than ${limits.inodes} files`, {
        hint: 'raise the limit of files in an image if this image is meant to be so',
      });
    }
    directories.set(at, { names, children, ...shapeOf(names) });
  }
  return { inodes, links, directories, xattrs };
}

/** A file without data needs one index, not one per chunk. */
export function chunkBitsOf(content: FileContent): number {
  if (content.runs.length > 0) return content.chunkBits;
  const bits = content.sizeBytes <= 1 ? 0 : Math.ceil(Math.log2(content.sizeBytes));
  return Math.min(MAX_CHUNK_BITS, Math.max(BLOCK_BITS, bits));
}

export function chunkCountOf(content: FileContent): number {
  return Math.ceil(content.sizeBytes / 2 ** chunkBitsOf(content));
}

/**
 * Decides where everything lies; the same tree gives the same layout. Devices follow the image block by block in
 * the flat address space.
 * @throws `limit_exceeded` | `unsupported` | `invalid_content`
 */
export function planImage(
  root: Directory,
  deviceSizes: readonly number[],
  limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
): Layout {
  const { inodes, links, directories, xattrs } = walk(root, limits);
  const offsets = new Float64Array(inodes.length);
  const inlineBytes = new Uint16Array(inodes.length);
  const dataBlocks = new Uint32Array(inodes.length);
  const xattrBlock = headerBytes(deviceSizes.length) / BLOCK_BYTES;
  const metaBlock = xattrBlock + blocksOf(xattrs.sharedBytes);

  // The first inode gets nid 2: readdir of the C library skips entries whose inode number is 0.
  let end = INODE_BYTES;
  let chunks = 0;
  let apartBlocks = 0;
  inodes.forEach((inode, index) => {
    const bodyBytes = INODE_BYTES + xattrs.body(inode).length;
    const content = inode.kind === 'file' ? inode.content : EMPTY_CONTENT;
    const chunkCount = chunkCountOf(content);
    chunks += chunkCount;
    if (chunks > limits.chunks) {
      throw new DrakkarError(
        'limit_exceeded',
        `the files of the image have more than ${limits.chunks} chunks`,
        {
          hint: 'a sparse file of terabytes is the usual reason',
        },
      );
    }
    let start = alignUp(end, INODE_SLOT_BYTES);
    if (inode.kind === 'directory' || inode.kind === 'symlink') {
      const sizeBytes =
        inode.kind === 'directory' ? (directories.get(index)?.sizeBytes ?? 0) : linkBytes(inode);
      const tail = sizeBytes % BLOCK_BYTES;
      const inline = tail > 0 && bodyBytes + tail <= BLOCK_BYTES;
      if (inline) {
        // Inode and tail in one block: the kernel's fast symlinks and directory reads ask for it.
        if ((start % BLOCK_BYTES) + bodyBytes + tail > BLOCK_BYTES) start = alignUp(start, BLOCK_BYTES);
        inlineBytes[index] = tail;
      }
      const apart = blocksOf(inline ? sizeBytes - tail : sizeBytes);
      // Relative for now; the data area begins where the inodes end.
      dataBlocks[index] = apart === 0 ? 0 : apartBlocks + 1;
      apartBlocks += apart;
      end = start + bodyBytes + (inline ? tail : 0);
    } else if (chunkCount > 0) {
      end = alignUp(start + bodyBytes, CHUNK_INDEX_BYTES) + chunkCount * CHUNK_INDEX_BYTES;
    } else {
      end = start + bodyBytes;
    }
    offsets[index] = start;
  });

  // fsck.erofs 1.5 reads an xattr header behind each inode, whether it has one or not.
  const dataBlock = metaBlock + blocksOf(end + XATTR_HEADER_BYTES);
  for (let index = 0; index < dataBlocks.length; index++) {
    const relative = dataBlocks[index] ?? 0;
    if (relative > 0) dataBlocks[index] = dataBlock + relative - 1;
  }
  const blocks = dataBlock + apartBlocks;
  return {
    inodes,
    offsets,
    links: Uint32Array.from(links),
    directories,
    inlineBytes,
    dataBlocks,
    xattrs,
    xattrBlock,
    metaBlock,
    blocks,
    devices: placeDevices(blocks, deviceSizes),
  };
}

function linkBytes(inode: Inode & { kind: 'symlink' }): number {
  const bytes = inode.target.length;
  if (bytes === 0 || bytes > MAX_LINK_BYTES) {
    throw new DrakkarError('invalid_content', `a symbolic link has a target of ${bytes} bytes`);
  }
  return bytes;
}

function placeDevices(firstBlock: number, sizes: readonly number[]): DeviceSlot[] {
  let next = firstBlock;
  return sizes.map((sizeBytes) => {
    const slot = { blocks: blocksOf(sizeBytes), unifiedBlock: next };
    next += slot.blocks;
    if (next >= 0xffffffff) {
      throw new DrakkarError(
        'unsupported',
        'the image has more than 16 TiB of data, which EROFS cannot address',
      );
    }
    return slot;
  });
}
