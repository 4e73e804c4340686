/**
 * Constants of the on-disk format. Little-endian throughout.
 * Source: linux/fs/erofs/erofs_fs.h, summed up in erofs-format.md.
 */
import type { Inode } from '../layers/tree.ts';

export const BLOCK_BITS = 12;
export const BLOCK_BYTES = 1 << BLOCK_BITS;

export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_BYTES = 128;
export const SUPERBLOCK_MAGIC = 0xe0f5e1e2;

export const COMPAT_CHECKSUM = 0x1;
export const COMPAT_MTIME = 0x2;
export const INCOMPAT_CHUNKED_FILE = 0x4;
export const INCOMPAT_DEVICE_TABLE = 0x8;

/** A device slot, and the unit of `devt_slotoff`. */
export const DEVICE_SLOT_BYTES = 128;
/** Our slots follow the superblock at once. */
export const DEVICE_TABLE_OFFSET = SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES;

/** Unit of inode numbers (nid). */
export const INODE_SLOT_BYTES = 32;
/** An extended inode; we write no others. */
export const INODE_BYTES = 64;

export const LAYOUT_PLAIN = 0;
export const LAYOUT_INLINE = 2;
export const LAYOUT_CHUNKED = 4;

export const CHUNK_FORMAT_BITS_MASK = 0x1f;
export const CHUNK_FORMAT_INDEXES = 0x20;
export const CHUNK_INDEX_BYTES = 8;
/** The block address of a hole. */
export const NULL_BLOCK = 0xffffffff;
/** The largest chunk that 5 bits above the block can name. */
export const MAX_CHUNK_BITS = BLOCK_BITS + CHUNK_FORMAT_BITS_MASK;

export const DIRECTORY_ENTRY_BYTES = 12;
export const MAX_NAME_BYTES = 255;
/** Linux's PATH_MAX without the NUL. */
export const MAX_LINK_BYTES = 4095;

export const XATTR_HEADER_BYTES = 12;
export const XATTR_ENTRY_BYTES = 4;

/** File kinds: bits of `i_mode` and the type byte of directory entries. */
export const KINDS: Readonly<Record<Inode['kind'], { readonly mode: number; readonly entryType: number }>> = {
  file: { mode: 0o100000, entryType: 1 },
  directory: { mode: 0o040000, entryType: 2 },
  character: { mode: 0o020000, entryType: 3 },
  block: { mode: 0o060000, entryType: 4 },
  fifo: { mode: 0o010000, entryType: 5 },
  symlink: { mode: 0o120000, entryType: 7 },
};
export const MODE_KIND_MASK = 0o170000;

export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES);
}

/** Linux's `new_encode_dev`: 12 bits of major, 20 of minor; the rest is cut, as `mknod` does. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function decodeDevice(value: number): { readonly major: number; readonly minor: number } {
  return { major: (value >>> 8) & 0xfff, minor: (value & 0xff) | ((value >>> 12) & 0xfff00) };
}
