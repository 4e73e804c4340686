import { DrakkarError } from '@drakkar/protocol';
import { BLOCK_BYTES, DIRECTORY_ENTRY_BYTES, MAX_NAME_BYTES } from './format.ts';

/** A name of a directory and the inode it stands for, with names in bytes as `latin1`. */
export interface DirectoryEntry {
  readonly name: string;
  readonly nid: number;
  readonly entryType: number;
}

/** Names in the order of the format: by bytes, `.` and `..` among the others. */
export function sortedNames(names: Iterable<string>): string[] {
  const sorted = ['.', '..', ...names];
  return sorted.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/**
 * How sorted names fall into blocks: the index of the first name of each block, and the size of the whole, in
 * which only the last block is not padded.
 */
export interface DirectoryShape {
  readonly blockStarts: readonly number[];
  readonly sizeBytes: number;
}

/** @throws `invalid_content` for a name that no directory can hold */
export function shapeOf(names: readonly string[]): DirectoryShape {
  const blockStarts = [0];
  let used = 0;
  names.forEach((name, index) => {
    if (name.length === 0 || name.length > MAX_NAME_BYTES || /[/\0]/.test(name)) {
      throw new DrakkarError('invalid_content', `${JSON.stringify(name.slice(0, 300))} is not a file name`);
    }
    const bytes = DIRECTORY_ENTRY_BYTES + name.length;
    if (used + bytes > BLOCK_BYTES) {
      blockStarts.push(index);
      used = 0;
    }
    used += bytes;
  });
  return { blockStarts, sizeBytes: (blockStarts.length - 1) * BLOCK_BYTES + used };
}

/** One block: the entries, then their names. As long as it needs to be, without padding. */
export function encodeDirectoryBlock(entries: readonly DirectoryEntry[]): Buffer {
  let nameAt = entries.length * DIRECTORY_ENTRY_BYTES;
  const block = Buffer.alloc(entries.reduce((sum, { name }) => sum + name.length, nameAt));
  entries.forEach(({ name, nid, entryType }, index) => {
    const at = index * DIRECTORY_ENTRY_BYTES;
    block.writeUInt32LE(nid >>> 0, at);
    block.writeUInt16LE(nameAt, at + 8);
    block.writeUInt8(entryType, at + 10);
    nameAt += block.write(name, nameAt, 'latin1');
  });
  return block;
}

/**
 * The entries of one block of a directory; `block` ends where the directory ends.
 * @throws `invalid_content` unless offsets ascend within the block and names are names
 */
export function decodeDirectoryBlock(block: Buffer): DirectoryEntry[] {
  const refuse = (why: string): never => {
    throw new DrakkarError('invalid_content', `a directory block ${why}`);
  };
  if (block.length < DIRECTORY_ENTRY_BYTES) refuse('is too short for an entry');
  const namesAt = block.readUInt16LE(8);
  const count = namesAt / DIRECTORY_ENTRY_BYTES;
  if (!Number.isInteger(count) || count === 0 || namesAt >= block.length)
    refuse('has a bad number of entries');
  const entries: DirectoryEntry[] = [];
  for (let index = 0; index < count; index++) {
    const at = index * DIRECTORY_ENTRY_BYTES;
    const start = block.readUInt16LE(at + 8);
    const last = index + 1 === count;
    const end = last ? endOfLastName(block, start) : block.readUInt16LE(at + DIRECTORY_ENTRY_BYTES + 8);
    if (start < namesAt || end > block.length || end <= start || end - start > MAX_NAME_BYTES) {
      refuse('has a name out of bounds');
    }
    const name = block.toString('latin1', start, end);
    if (/[/\0]/.test(name)) refuse('has a name with a slash or NUL');
    if (block.readUInt32LE(at + 4) !== 0) refuse('names an absurd inode');
    entries.push({ name, nid: block.readUInt32LE(at), entryType: block.readUInt8(at + 10) });
  }
  return entries;
}

/** The last name of a block ends at a NUL of the padding, or with the block. */
function endOfLastName(block: Buffer, start: number): number {
  const end = block.indexOf(0, start);
  return end < 0 ? block.length : end;
}
