import { join } from 'node:path';
import { EROFS_BLOCK_BYTES } from '@drakkar/protocol';
import { type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from '../blob/index.ts';
import { blocksOf } from '../erofs/index.ts';
import { type Directory, nodeAt } from '../layers/index.ts';
import type { ChunkPlace } from './chunk-index.ts';
import { chunkStarts, type MovedBlocks } from './relocate.ts';
import { Spool } from './spool.ts';

/** More than any start reads. Bounded, since all of it is written twice. */
export const MAX_START_BYTES = 512 * 1024 * 1024;

/**
 * The device of the files that starts read, in the order in which they read them. Layers bring them in another order, so their
 * chunks wait on disk until all are there; until then each has the block at which it waits.
 */
export class StartDevice implements AsyncDisposable {
  readonly #directory: string;
  readonly #options: Omit<VolumeFileWriterOptions, 'basePath'>;
  readonly #spool: Spool;
  /** Bytes of the chunks that wait, by their block, in the order in which they came. */
  readonly #waiting = new Map<number, number>();
  #endBlock = 0;

  private constructor(directory: string, options: Omit<VolumeFileWriterOptions, 'basePath'>, spool: Spool) {
    this.#directory = directory;
    this.#options = options;
    this.#spool = spool;
  }

  static async create(
    directory: string,
    options: Omit<VolumeFileWriterOptions, 'basePath'>,
  ): Promise<StartDevice> {
    const spool = await Spool.create(join(directory, 'start.spool'), options.reserve);
    return new StartDevice(directory, options, spool);
  }

  hasRoomFor(bytes: Uint8Array): boolean {
    return this.#endBlock * EROFS_BLOCK_BYTES + bytes.length <= MAX_START_BYTES;
  }

  /** Heed {@link ready} between calls: memory is bounded only then. */
  append(bytes: Uint8Array): Omit<ChunkPlace, 'device'> {
    const startBlock = this.#endBlock;
    const blocks = blocksOf(bytes.length);
    this.#spool.write(startBlock * EROFS_BLOCK_BYTES, bytes);
    this.#waiting.set(startBlock, bytes.length);
    this.#endBlock += blocks;
    return { startBlock, blocks };
  }

  ready(): Promise<void> | undefined {
    return this.#spool.ready();
  }

  /**
   * Writes the device: first what the files of `order` have on it, as they stand there, then the rest, such as versions of
   * them that later layers hide.
   *
   * @param root whose files have chunks at slot `device` that wait here
   */
  async write(
    root: Directory,
    device: number,
    order: Iterable<string>,
  ): Promise<{ readonly staged: StagedFile; readonly moved: MovedBlocks }> {
    const basePath = join(this.#directory, 'start');
    const writer = await VolumeFileWriter.create({ ...this.#options, basePath });
    const moved = new Map<number, number>();
    for (const startBlock of new Set([...startsOf(root, device, order), ...this.#waiting.keys()])) {
      moved.set(startBlock, writer.sizeBytes / EROFS_BLOCK_BYTES);
      const sizeBytes = this.#waiting.get(startBlock) ?? 0;
      writer.append(await this.#spool.read(startBlock * EROFS_BLOCK_BYTES, sizeBytes));
      writer.pad();
      await writer.ready();
    }
    return { staged: await writer.finish(), moved };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#spool[Symbol.asyncDispose]();
  }
}

function* startsOf(
  root: Directory,
  device: number,
  order: Iterable<string>,
): Generator<number, void, undefined> {
  for (const path of order) {
    const node = nodeAt(root, path);
    if (node?.kind === 'file') yield* chunkStarts(node.content, device);
  }
}
