import { DrakkarError, MAX_DEVICES } from '@drakkar/protocol';
import { rawCrc32c } from './crc32c.ts';
import {
  BLOCK_BITS,
  BLOCK_BYTES,
  COMPAT_CHECKSUM,
  COMPAT_MTIME,
  DEVICE_SLOT_BYTES,
  DEVICE_TABLE_OFFSET,
  INCOMPAT_CHUNKED_FILE,
  INCOMPAT_DEVICE_TABLE,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
} from './format.ts';

export interface Superblock {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly epochSeconds: number;
  readonly inodeCount: number;
  /** Blocks of the primary image. */
  readonly blocks: number;
  readonly rootNid: number;
  /** First block of the inode area. */
  readonly metaBlock: number;
  /** First block of the shared xattrs. */
  readonly xattrBlock: number;
  readonly devices: readonly DeviceSlot[];
}

/** An extra device as the image knows it. */
export interface DeviceSlot {
  readonly blocks: number;
  /** Block at which the device begins where image and devices are one flat device. */
  readonly unifiedBlock: number;
}

/** Bytes before the first block that is free for metadata. */
export function headerBytes(deviceCount: number): number {
  return Math.ceil((DEVICE_TABLE_OFFSET + deviceCount * DEVICE_SLOT_BYTES) / BLOCK_BYTES) * BLOCK_BYTES;
}

/** The image from byte 0 to the end of the device table, with the checksum in place. */
export function encodeHeader(superblock: Superblock): Buffer {
  const { devices } = superblock;
  const header = Buffer.alloc(headerBytes(devices.length));
  const sb = header.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES);
  sb.writeUInt32LE(SUPERBLOCK_MAGIC, 0);
  sb.writeUInt32LE(COMPAT_CHECKSUM | COMPAT_MTIME, 8);
  sb.writeUInt8(BLOCK_BITS, 12);
  sb.writeUInt16LE(superblock.rootNid, 14);
  sb.writeBigUInt64LE(BigInt(superblock.inodeCount), 16);
  sb.writeBigUInt64LE(BigInt(superblock.epochSeconds), 24);
  sb.writeUInt32LE(superblock.blocks, 36);
  sb.writeUInt32LE(superblock.metaBlock, 40);
  sb.writeUInt32LE(superblock.xattrBlock, 44);
  sb.set(superblock.uuid.subarray(0, 16), 48);
  sb.writeUInt32LE(INCOMPAT_CHUNKED_FILE | (devices.length > 0 ? INCOMPAT_DEVICE_TABLE : 0), 80);
  if (devices.length > 0) {
    sb.writeUInt16LE(devices.length, 86);
    sb.writeUInt16LE(DEVICE_TABLE_OFFSET / DEVICE_SLOT_BYTES, 88);
  }
  devices.forEach((device, index) => {
    const at = DEVICE_TABLE_OFFSET + index * DEVICE_SLOT_BYTES;
    header.writeUInt32LE(device.blocks, at + 64);
    header.writeUInt32LE(device.unifiedBlock, at + 68);
  });
  sb.writeUInt32LE(checksumOf(header), 4);
  return header;
}

/** Over the superblock's block from the superblock on, the field itself taken as zero. */
function checksumOf(image: Uint8Array): number {
  const covered = Buffer.from(image.subarray(SUPERBLOCK_OFFSET, BLOCK_BYTES));
  covered.writeUInt32LE(0, 4);
  return rawCrc32c(covered);
}

/**
 * @param image from its start, at least to the end of the device table
 * @param sizeBytes of the whole image
 * @throws `invalid_content` for what is no EROFS image, is damaged, or uses features that we never write
 */
export function decodeHeader(image: Buffer, sizeBytes: number = image.length): Superblock {
  const refuse = (why: string): never => {
    throw new DrakkarError('invalid_content', `the EROFS superblock ${why}`);
  };
  if (image.length < BLOCK_BYTES || sizeBytes % BLOCK_BYTES !== 0) {
    refuse(`stands in ${sizeBytes} bytes, which are not whole blocks`);
  }
  const sb = image.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES);
  if (sb.readUInt32LE(0) !== SUPERBLOCK_MAGIC) refuse('has the wrong magic number');
  if (sb.readUInt32LE(8) !== (COMPAT_CHECKSUM | COMPAT_MTIME)) refuse('has unexpected features');
  if (sb.readUInt32LE(4) !== checksumOf(image)) refuse('does not match its checksum');
  if (sb.readUInt8(12) !== BLOCK_BITS || sb.readUInt8(13) !== 0 || sb.readUInt8(90) !== 0) {
    refuse('has an unexpected block size');
  }
  const deviceCount = sb.readUInt16LE(86);
  const wanted = INCOMPAT_CHUNKED_FILE | (deviceCount > 0 ? INCOMPAT_DEVICE_TABLE : 0);
  if (sb.readUInt32LE(80) !== wanted) refuse('has unexpected features');
  if (deviceCount > MAX_DEVICES) refuse(`has ${deviceCount} devices; the limit is ${MAX_DEVICES}`);
  const blocks = sb.readUInt32LE(36);
  if (blocks * BLOCK_BYTES !== sizeBytes) refuse(`claims ${blocks} blocks for ${sizeBytes} bytes`);
  const tableAt = sb.readUInt16LE(88) * DEVICE_SLOT_BYTES;
  if (tableAt + deviceCount * DEVICE_SLOT_BYTES > image.length) refuse('has a device table beyond the image');
  const devices: DeviceSlot[] = [];
  for (let index = 0; index < deviceCount; index++) {
    const at = tableAt + index * DEVICE_SLOT_BYTES;
    devices.push({ blocks: image.readUInt32LE(at + 64), unifiedBlock: image.readUInt32LE(at + 68) });
  }
  const bounded = (offset: number): number => {
    const value = sb.readBigUInt64LE(offset);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : refuse('has an absurd number');
  };
  return {
    uuid: Uint8Array.from(sb.subarray(48, 64)),
    epochSeconds: bounded(24),
    inodeCount: bounded(16),
    blocks,
    rootNid: sb.readUInt16LE(14),
    metaBlock: sb.readUInt32LE(40),
    xattrBlock: sb.readUInt32LE(44),
    devices,
  };
}
