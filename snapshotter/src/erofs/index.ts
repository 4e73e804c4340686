/**
 * EROFS metadata images: a pure writer, and a reader that trusts nothing.
 *
 * An image holds inodes, directories, links, xattrs and chunk indexes; the bytes of files lie on devices.
 *
 * ```
 * block 0   superblock, device slots (more blocks where there are more than 23 slots)
 *           shared xattrs
 *           inodes in breadth-first order, each with its xattrs, chunk indexes or inline tail
 *           blocks of large directories and of long links
 * ```
 *
 * @example
 * ```ts
 * const image = planErofs({ root, deviceSizes: [8192], uuid, epochSeconds: 0, addressing: 'devices' });
 * const bytes = Buffer.concat([...image.parts()]);
 * readErofs(bytes).root; // the same tree
 * ```
 */
export { blocksOf } from './format.ts';
export { DEFAULT_IMAGE_LIMITS, type ImageLimits } from './layout.ts';
export { DEFAULT_READ_LIMITS, type ReadImage, type ReadLimits, readErofs } from './read.ts';
export { RunList } from './runs.ts';
export { type DeviceSlot, decodeHeader, headerBytes, type Superblock } from './superblock.ts';
export { type ImageRequest, type PlannedImage, planErofs } from './write.ts';
