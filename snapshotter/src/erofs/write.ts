import { DrakkarError } from '@drakkar/protocol';
import type { Directory, FileContent, Inode } from '../layers/tree.ts';
import { encodeDirectoryBlock } from './directory.ts';
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_BYTES,
  CHUNK_FORMAT_INDEXES,
  CHUNK_INDEX_BYTES,
  encodeDevice,
  INODE_BYTES,
  INODE_SLOT_BYTES,
  KINDS,
  LAYOUT_CHUNKED,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  NULL_BLOCK,
  XATTR_HEADER_BYTES,
} from './format.ts';
import {
  chunkBitsOf,
  chunkCountOf,
  type DirectoryPlan,
  type ImageLimits,
  type Layout,
  planImage,
} from './layout.ts';
import { encodeHeader } from './superblock.ts';

export interface ImageRequest {
  readonly root: Directory;
  /** Raw size of each device, in the order of their indexes in the tree's chunk runs. Multiples of 4096. */
  readonly deviceSizes: readonly number[];
  /** 16 bytes; of the same image always the same. */
  readonly uuid: Uint8Array;
  readonly epochSeconds: number;
  /**
   * `devices`: chunks name their device, and the image is mounted with `device=` options. `flat`: chunks name blocks
   * of one device, on which the devices follow the image; needs no more of a kernel than chunk-based files (5.15).
   */
  readonly addressing: 'devices' | 'flat';
  readonly limits?: ImageLimits;
}

/** A metadata image that can be written as often as one likes, from start to end. */
export interface PlannedImage {
  readonly sizeBytes: number;
  readonly layout: Layout;
  /** Consecutive parts of at most `PART_BYTES`. */
  parts(): Generator<Uint8Array, void, undefined>;
}

const PART_BYTES = 256 * 1024;
const INDEXES_PER_RECORD = 8192;

/**
 * Plans the EROFS image of a merged tree: metadata only, all file contents on devices.
 * @throws `limit_exceeded` | `unsupported` | `invalid_content` for what the format or the limits don't allow
 */
export function planErofs(request: ImageRequest): PlannedImage {
  const layout = planImage(request.root, request.deviceSizes, request.limits);
  const sizeBytes = layout.blocks * BLOCK_BYTES;
  return { sizeBytes, layout, parts: () => coalesce(records(layout, request), sizeBytes) };
}

interface Record {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Everything in the image that is not zero, in ascending order. */
function* records(layout: Layout, request: ImageRequest): Generator<Record, void, undefined> {
  const { metaBlock } = layout;
  const flat = request.addressing === 'flat';
  const last = layout.devices.at(-1);
  const flatBlocks = last === undefined ? layout.blocks : last.unifiedBlock + last.blocks;
  const header = encodeHeader({
    uuid: request.uuid,
    epochSeconds: request.epochSeconds,
    inodeCount: layout.inodes.length,
    blocks: flat ? flatBlocks : layout.blocks,
    rootNid: nidOf(layout, 0),
    metaBlock,
    xattrBlock: layout.xattrBlock,
    devices: flat ? [] : layout.devices,
  });
  yield { offset: 0, bytes: header };
  yield { offset: layout.xattrBlock * BLOCK_BYTES, bytes: layout.xattrs.sharedArea() };
  for (const [index, inode] of layout.inodes.entries()) {
    const offset = metaBlock * BLOCK_BYTES + (layout.offsets[index] ?? 0);
    const xattrs = layout.xattrs.body(inode);
    const bodyBytes = INODE_BYTES + xattrs.length;
    yield { offset, bytes: encodeInode(layout, index, inode, xattrs) };
    if (inode.kind === 'file') {
      const indexesAt = alignUp(offset + bodyBytes, CHUNK_INDEX_BYTES);
      yield* chunkIndexes(inode.content, indexesAt, layout, flat);
    } else if (inode.kind === 'directory' || inode.kind === 'symlink') {
      const inline = layout.inlineBytes[index] ?? 0;
      if (inline > 0) yield { offset: offset + bodyBytes, bytes: tailOf(layout, index, inode) };
    }
  }
  for (const [index, inode] of layout.inodes.entries()) {
    const firstBlock = layout.dataBlocks[index] ?? 0;
    if (firstBlock === 0) continue;
    const offset = firstBlock * BLOCK_BYTES;
    if (inode.kind === 'symlink') {
      yield { offset, bytes: Buffer.from(inode.target, 'latin1') };
    } else if (inode.kind === 'directory') {
      const plan = directoryPlan(layout, index);
      const apart = plan.blockStarts.length - ((layout.inlineBytes[index] ?? 0) > 0 ? 1 : 0);
      for (let block = 0; block < apart; block++) {
        yield { offset: offset + block * BLOCK_BYTES, bytes: directoryBlock(layout, plan, block) };
      }
    }
  }
}

function directoryPlan(layout: Layout, index: number): DirectoryPlan {
  const plan = layout.directories.get(index);
  if (plan === undefined) throw new DrakkarError('internal', `directory ${index} was not planned`);
  return plan;
}

function nidOf(layout: Layout, index: number): number {
  return (layout.offsets[index] ?? 0) / INODE_SLOT_BYTES;
}

function tailOf(layout: Layout, index: number, inode: Inode): Buffer {
  if (inode.kind === 'symlink') return Buffer.from(inode.target, 'latin1');
  const plan = directoryPlan(layout, index);
  return directoryBlock(layout, plan, plan.blockStarts.length - 1);
}

function directoryBlock(layout: Layout, plan: DirectoryPlan, block: number): Buffer {
  const start = plan.blockStarts[block] ?? 0;
  const end = plan.blockStarts[block + 1] ?? plan.names.length;
  return encodeDirectoryBlock(
    plan.names.slice(start, end).map((name, position) => {
      const child = plan.children[start + position] ?? 0;
      const kind = layout.inodes[child]?.kind ?? 'file';
      return { name, nid: nidOf(layout, child), entryType: KINDS[kind].entryType };
    }),
  );
}

function encodeInode(layout: Layout, index: number, inode: Inode, xattrs: Buffer): Buffer {
  const bytes = Buffer.alloc(INODE_BYTES + xattrs.length);
  const { format, sizeBytes, union } = dataOf(layout, index, inode);
  bytes.writeUInt16LE(1 | (format << 1), 0);
  bytes.writeUInt16LE(xattrs.length === 0 ? 0 : 1 + (xattrs.length - XATTR_HEADER_BYTES) / 4, 2);
  bytes.writeUInt16LE(KINDS[inode.kind].mode | (inode.mode & 0o7777), 4);
  bytes.writeBigUInt64LE(BigInt(sizeBytes), 8);
  bytes.writeUInt32LE(union, 16);
  bytes.writeUInt32LE(index + 1, 20);
  bytes.writeUInt32LE(inode.uid, 24);
  bytes.writeUInt32LE(inode.gid, 28);
  bytes.writeBigUInt64LE(BigInt(inode.mtimeSeconds), 32);
  bytes.writeUInt32LE(inode.mtimeNanoseconds, 40);
  bytes.writeUInt32LE(layout.links[index] ?? 1, 44);
  bytes.set(xattrs, INODE_BYTES);
  return bytes;
}

/** Layout, `i_size` and `i_u` of an inode. */
function dataOf(
  layout: Layout,
  index: number,
  inode: Inode,
): { readonly format: number; readonly sizeBytes: number; readonly union: number } {
  switch (inode.kind) {
    case 'file': {
      const { content } = inode;
      if (content.sizeBytes === 0) return { format: LAYOUT_PLAIN, sizeBytes: 0, union: 0 };
      const union = CHUNK_FORMAT_INDEXES | (chunkBitsOf(content) - BLOCK_BITS);
      return { format: LAYOUT_CHUNKED, sizeBytes: content.sizeBytes, union };
    }
    case 'directory':
    case 'symlink': {
      const sizeBytes =
        inode.kind === 'symlink' ? inode.target.length : directoryPlan(layout, index).sizeBytes;
      const format = (layout.inlineBytes[index] ?? 0) > 0 ? LAYOUT_INLINE : LAYOUT_PLAIN;
      return { format, sizeBytes, union: layout.dataBlocks[index] ?? 0 };
    }
    case 'character':
    case 'block':
      return { format: LAYOUT_PLAIN, sizeBytes: 0, union: encodeDevice(inode.major, inode.minor) };
    case 'fifo':
      return { format: LAYOUT_PLAIN, sizeBytes: 0, union: 0 };
  }
}

/** The index of every chunk of a file; what no run covers is a hole. */
function* chunkIndexes(
  content: FileContent,
  startOffset: number,
  layout: Layout,
  flat: boolean,
): Generator<Record, void, undefined> {
  const count = chunkCountOf(content);
  const blocksPerChunk = 2 ** (content.chunkBits - BLOCK_BITS);
  const runs = content.runs.values();
  let run = runs.next().value;
  for (let first = 0; first < count; first += INDEXES_PER_RECORD) {
    const length = Math.min(INDEXES_PER_RECORD, count - first);
    const bytes = Buffer.alloc(length * CHUNK_INDEX_BYTES);
    for (let position = 0; position < length; position++) {
      const chunk = first + position;
      while (run !== undefined && chunk >= run.firstChunk + run.chunkCount) run = runs.next().value;
      const at = position * CHUNK_INDEX_BYTES;
      if (run === undefined || chunk < run.firstChunk) {
        bytes.writeUInt32LE(NULL_BLOCK, at + 4);
        continue;
      }
      const block = run.startBlock + (chunk - run.firstChunk) * blocksPerChunk;
      const slot = layout.devices[run.device];
      if (slot === undefined || block >= slot.blocks) {
        throw new DrakkarError(
          'internal',
          `a chunk lies at block ${block} of device ${run.device}, beyond its end`,
        );
      }
      bytes.writeUInt16LE(flat ? 0 : run.device + 1, at + 2);
      bytes.writeUInt32LE(flat ? slot.unifiedBlock + block : block, at + 4);
    }
    yield { offset: startOffset + first * CHUNK_INDEX_BYTES, bytes };
  }
}

/** Joins ascending records to parts of bounded size, with zeros between them. */
function* coalesce(source: Iterable<Record>, sizeBytes: number): Generator<Uint8Array, void, undefined> {
  let part = Buffer.alloc(Math.min(PART_BYTES, sizeBytes));
  let partStart = 0;
  for (const { offset, bytes } of source) {
    let done = 0;
    while (done < bytes.length) {
      const at = offset + done - partStart;
      if (at >= part.length) {
        yield part;
        partStart += part.length;
        part = Buffer.alloc(Math.min(PART_BYTES, sizeBytes - partStart));
        continue;
      }
      const length = Math.min(bytes.length - done, part.length - at);
      part.set(bytes.subarray(done, done + length), at);
      done += length;
    }
  }
  while (partStart < sizeBytes) {
    yield part;
    partStart += part.length;
    part = Buffer.alloc(Math.min(PART_BYTES, sizeBytes - partStart));
  }
}
