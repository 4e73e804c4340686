import { DrakkarError } from '@drakkar/protocol';
import type { FileContent, Inode } from '../layers/tree.ts';
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_BYTES,
  blocksOf,
  CHUNK_FORMAT_BITS_MASK,
  CHUNK_FORMAT_INDEXES,
  CHUNK_INDEX_BYTES,
  decodeDevice,
  INODE_BYTES,
  INODE_SLOT_BYTES,
  KINDS,
  LAYOUT_CHUNKED,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  MAX_LINK_BYTES,
  MODE_KIND_MASK,
  NULL_BLOCK,
  XATTR_HEADER_BYTES,
} from './format.ts';
import type { ReadLimits } from './read.ts';
import { RunList } from './runs.ts';
import type { Superblock } from './superblock.ts';
import { decodeXattr } from './xattrs.ts';

/** The fixed part of an inode, checked for its own sake. */
export interface InodeRecord {
  readonly nid: number;
  readonly kind: Inode['kind'];
  readonly layout: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly sizeBytes: number;
  readonly links: number;
  readonly union: number;
  /** Byte offsets in the image: of the xattrs, and of what follows them. */
  readonly xattrsAt: number;
  readonly tailAt: number;
}

/** Reads inodes and what hangs on them. Every method throws `invalid_content` for what lies out of bounds. */
export class InodeReader {
  readonly #bytes: Buffer;
  readonly #superblock: Superblock;
  readonly #limits: ReadLimits;
  #chunks = 0;
  #xattrBytes = 0;

  constructor(bytes: Buffer, superblock: Superblock, limits: ReadLimits) {
    this.#bytes = bytes;
    this.#superblock = superblock;
    this.#limits = limits;
  }

  #slice(offset: number, length: number): Buffer {
    if (offset < 0 || length < 0 || offset + length > this.#bytes.length) refuse('points beyond the image');
    return this.#bytes.subarray(offset, offset + length);
  }

  read(nid: number): InodeRecord {
    const at = this.#superblock.metaBlock * BLOCK_BYTES + nid * INODE_SLOT_BYTES;
    const inode = this.#slice(at, INODE_BYTES);
    const format = inode.readUInt16LE(0);
    if ((format & 1) === 0 || format >> 4 !== 0) refuse('is not an extended one');
    const layout = (format >> 1) & 7;
    const modeBits = inode.readUInt16LE(4);
    const kind = kindOf(modeBits & MODE_KIND_MASK);
    const chunked = layout === LAYOUT_CHUNKED;
    const inline = layout === LAYOUT_INLINE;
    if (
      chunked
        ? kind !== 'file'
        : inline
          ? kind !== 'directory' && kind !== 'symlink'
          : layout !== LAYOUT_PLAIN
    ) {
      refuse(`has layout ${layout}, which does not fit its kind`);
    }
    const icount = inode.readUInt16LE(2);
    const xattrBytes = icount === 0 ? 0 : XATTR_HEADER_BYTES + (icount - 1) * 4;
    const xattrsAt = at + INODE_BYTES;
    this.#slice(xattrsAt, xattrBytes);
    const size = inode.readBigUInt64LE(8);
    const mtime = inode.readBigUInt64LE(32);
    const nanoseconds = inode.readUInt32LE(40);
    const safe = BigInt(Number.MAX_SAFE_INTEGER);
    if (size > safe || mtime > safe || nanoseconds >= 1e9) refuse('has an absurd size or time');
    if (kind !== 'file' && kind !== 'directory' && kind !== 'symlink' && size !== 0n) refuse('has a size');
    if (kind === 'file' && !chunked && size !== 0n) refuse('holds file data itself');
    return {
      nid,
      kind,
      layout,
      mode: modeBits & 0o7777,
      uid: inode.readUInt32LE(24),
      gid: inode.readUInt32LE(28),
      mtimeSeconds: Number(mtime),
      mtimeNanoseconds: nanoseconds,
      sizeBytes: Number(size),
      links: inode.readUInt32LE(44),
      union: inode.readUInt32LE(16),
      xattrsAt,
      tailAt: xattrsAt + xattrBytes,
    };
  }

  /** One block of a directory or link, without padding. */
  block(record: InodeRecord, block: number): Buffer {
    const blocks = blocksOf(record.sizeBytes);
    const length = Math.min(BLOCK_BYTES, record.sizeBytes - block * BLOCK_BYTES);
    if (record.layout === LAYOUT_INLINE && block === blocks - 1) {
      if ((record.tailAt % BLOCK_BYTES) + length > BLOCK_BYTES) refuse('has a tail that crosses a block');
      return this.#slice(record.tailAt, length);
    }
    return this.#slice((record.union + block) * BLOCK_BYTES, length);
  }

  link(record: InodeRecord): string {
    if (record.sizeBytes === 0 || record.sizeBytes > MAX_LINK_BYTES) refuse('is a link of an absurd length');
    const target = this.block(record, 0).toString('latin1');
    return target.includes('\0') ? refuse('is a link with a NUL') : target;
  }

  device(record: InodeRecord): { readonly major: number; readonly minor: number } {
    return decodeDevice(record.union);
  }

  xattrs(record: InodeRecord): Map<string, Uint8Array> | undefined {
    if (record.tailAt === record.xattrsAt) return undefined;
    const body = this.#slice(record.xattrsAt, record.tailAt - record.xattrsAt);
    const xattrs = new Map<string, Uint8Array>();
    const add = (bytes: Buffer, at: number): number => {
      const { name, value, lengthBytes } = decodeXattr(bytes, at);
      this.#xattrBytes += lengthBytes;
      if (this.#xattrBytes > this.#limits.xattrBytes) {
        throw new DrakkarError(
          'limit_exceeded',
          `the image has more than ${this.#limits.xattrBytes} bytes of xattrs`,
        );
      }
      if (xattrs.has(name)) refuse('has an xattr twice');
      xattrs.set(name, value);
      return lengthBytes;
    };
    const shared = body.readUInt8(4);
    let at = XATTR_HEADER_BYTES + shared * 4;
    if (at > body.length) refuse('has more shared xattrs than fit');
    for (let index = 0; index < shared; index++) {
      const id = body.readUInt32LE(XATTR_HEADER_BYTES + index * 4);
      add(this.#bytes, this.#superblock.xattrBlock * BLOCK_BYTES + id * 4);
    }
    while (at < body.length) at += add(body, at);
    return xattrs;
  }

  content(record: InodeRecord): FileContent {
    const { sizeBytes, union } = record;
    if (sizeBytes === 0) return { sizeBytes, chunkBits: BLOCK_BITS, runs: [] };
    if ((union & ~CHUNK_FORMAT_BITS_MASK) !== CHUNK_FORMAT_INDEXES) refuse('has an unknown chunk format');
    const chunkBits = BLOCK_BITS + (union & CHUNK_FORMAT_BITS_MASK);
    const count = Math.ceil(sizeBytes / 2 ** chunkBits);
    this.#chunks += count;
    if (this.#chunks > this.#limits.chunks) {
      throw new DrakkarError('limit_exceeded', `the image has more than ${this.#limits.chunks} chunks`);
    }
    const indexesAt = alignUp(record.tailAt, CHUNK_INDEX_BYTES);
    const indexes = this.#slice(indexesAt, count * CHUNK_INDEX_BYTES);
    const runs = new RunList(2 ** (chunkBits - BLOCK_BITS));
    for (let chunk = 0; chunk < count; chunk++) {
      const at = chunk * CHUNK_INDEX_BYTES;
      const startBlock = indexes.readUInt32LE(at + 4);
      if (indexes.readUInt16LE(at) !== 0) refuse('has a chunk beyond 16 TiB');
      if (startBlock === NULL_BLOCK) continue;
      const device = indexes.readUInt16LE(at + 2) - 1;
      const length = Math.min(2 ** chunkBits, sizeBytes - chunk * 2 ** chunkBits);
      const slot = this.#superblock.devices[device];
      if (slot === undefined || startBlock + blocksOf(length) > slot.blocks) {
        refuse('has a chunk that lies on no device');
      }
      runs.add(chunk, device, startBlock);
    }
    return { sizeBytes, chunkBits: runs.list.length === 0 ? BLOCK_BITS : chunkBits, runs: runs.list };
  }
}

function kindOf(modeBits: number): Inode['kind'] {
  switch (modeBits) {
    case KINDS.file.mode:
      return 'file';
    case KINDS.directory.mode:
      return 'directory';
    case KINDS.symlink.mode:
      return 'symlink';
    case KINDS.character.mode:
      return 'character';
    case KINDS.block.mode:
      return 'block';
    case KINDS.fifo.mode:
      return 'fifo';
    default:
      return refuse('is of an unknown kind');
  }
}

function refuse(why: string): never {
  throw new DrakkarError('invalid_content', `an inode of the EROFS image ${why}`);
}
