import { type FileHandle, open } from 'node:fs/promises';
import { DrakkarError, EROFS_BLOCK_BYTES } from '@drakkar/protocol';
import { readFully } from '../blob/index.ts';
import { planErofs, readErofs } from '../erofs/index.ts';

export interface FlatSource {
  /** Raw meta image. */
  readonly metaPath: string;
  /** Raw devices, in the order of the meta's slots. */
  readonly devicePaths: readonly string[];
}

const PART_BYTES = 1024 * 1024;
/** The meta is read whole; 1 GiB are some eight million files. */
const MAX_META_BYTES = 1024 * 1024 * 1024;

/** A flat image that has been planned and is made while it is read. */
export interface FlatImage {
  readonly sizeBytes: number;
  /** All its bytes, from the first to the last. @throws `invalid_content` for a device of another size */
  parts(options: { readonly signal: AbortSignal }): AsyncGenerator<Uint8Array, void, undefined>;
}

/**
 * One ordinary block image of a snapshot: the metadata, then the devices in their order. Its chunks name blocks of the
 * image itself, so that a kernel needs nothing but chunk-based files (5.15), through a loop device or as a disk.
 * The same snapshot gives the same bytes.
 *
 * @throws `invalid_content` for a damaged meta
 */
export async function flatImage(source: FlatSource): Promise<FlatImage> {
  const meta = readErofs(await readMeta(source.metaPath));
  if (meta.devices.length !== source.devicePaths.length) {
    throw new DrakkarError(
      'invalid_argument',
      `the snapshot has ${meta.devices.length} devices, not ${source.devicePaths.length}`,
    );
  }
  const deviceSizes = meta.devices.map(({ blocks }) => blocks * EROFS_BLOCK_BYTES);
  const planned = planErofs({ ...meta, deviceSizes, addressing: 'flat' });
  return {
    sizeBytes: deviceSizes.reduce((total, sizeBytes) => total + sizeBytes, planned.sizeBytes),
    async *parts({ signal }) {
      for (const part of planned.parts()) {
        signal.throwIfAborted();
        yield part;
      }
      for (const [index, path] of source.devicePaths.entries())
        yield* deviceParts(index, path, deviceSizes[index] ?? 0, signal);
    },
  };
}

async function* deviceParts(
  index: number,
  path: string,
  sizeBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  await using device = await open(path, 'r');
  if ((await device.stat()).size !== sizeBytes) {
    throw new DrakkarError(
      'invalid_content',
      `device ${index} of the snapshot has not the ${sizeBytes} bytes that it should`,
    );
  }
  yield* partsOf(device, sizeBytes, signal);
}

async function readMeta(path: string): Promise<Buffer> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  if (size > MAX_META_BYTES) {
    throw new DrakkarError('limit_exceeded', `the metadata of the snapshot has ${size} bytes`);
  }
  return await file.readFile();
}

async function* partsOf(
  file: FileHandle,
  sizeBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let position = 0; position < sizeBytes; position += PART_BYTES) {
    signal.throwIfAborted();
    const part = Buffer.allocUnsafe(Math.min(PART_BYTES, sizeBytes - position));
    if ((await readFully(file, part, position)) !== part.length) {
      throw new DrakkarError('invalid_content', 'a device of the snapshot became shorter while it was read');
    }
    yield part;
  }
}
