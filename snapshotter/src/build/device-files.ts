import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError, EROFS_BLOCK_BYTES, type VolumeFile } from '@drakkar/protocol';
import { type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from '../blob/index.ts';
import { blocksOf } from '../erofs/index.ts';
import type { Directory } from '../layers/index.ts';
import type { ChunkPlace } from './chunk-index.ts';
import type { ChunkStore } from './chunk-sink.ts';
import type { Dictionary } from './dictionary.ts';
import type { MovedBlocks } from './relocate.ts';
import type { StartDevice } from './start-device.ts';

/**
 * The devices of a snapshot. A slot is taken when something is first put on a device, or first found on one of the dictionary, so
 * that what holds nothing has none, and the same input gives the same slots. New devices are made one after the other: each is
 * complete before the next begins, and empty ones leave no trace.
 */
export class DeviceFiles implements ChunkStore {
  readonly #directory: string;
  readonly #options: Omit<VolumeFileWriterOptions, 'basePath'>;
  readonly #dictionary: Dictionary;
  /** By slot; the device that is being made has none yet. */
  readonly #files: (VolumeFile | undefined)[] = [];
  /** By index in the dictionary. */
  readonly #slotsOfEarlier = new Map<number, number>();
  readonly #made: StagedFile[] = [];
  #current: VolumeFileWriter | undefined;
  #currentSlot: number | undefined;
  readonly #start: StartDevice | undefined;
  #startSlot: number | undefined;

  /** @param start gets what starts read */
  constructor(
    directory: string,
    options: Omit<VolumeFileWriterOptions, 'basePath'>,
    dictionary: Dictionary,
    start: StartDevice | undefined,
  ) {
    this.#directory = directory;
    this.#options = options;
    this.#dictionary = dictionary;
    this.#start = start;
  }

  /** All devices in slot order, those of the dictionary as it has them. */
  get files(): readonly VolumeFile[] {
    return this.#files.filter((file) => file !== undefined);
  }

  /** Those that were made here. */
  get made(): readonly StagedFile[] {
    return this.#made;
  }

  #basePath(): string {
    return join(this.#directory, `device-${this.#made.length}`);
  }

  async open(): Promise<void> {
    this.#current = await VolumeFileWriter.create({ ...this.#options, basePath: this.#basePath() });
  }

  find(sha256: Uint8Array, sizeBytes: number): ChunkPlace | undefined {
    const place = this.#dictionary.find(sha256);
    if (place === undefined || place.blocks !== blocksOf(sizeBytes)) return undefined;
    return { ...place, device: this.#slotOfEarlier(place.device) };
  }

  #slotOfEarlier(index: number): number {
    const known = this.#slotsOfEarlier.get(index);
    if (known !== undefined) return known;
    const slot = this.#files.push(this.#dictionary.devices[index]) - 1;
    this.#slotsOfEarlier.set(index, slot);
    return slot;
  }

  append(bytes: Uint8Array, early: boolean): ChunkPlace {
    if (early && this.#start?.hasRoomFor(bytes) === true) {
      this.#startSlot ??= this.#files.push(undefined) - 1;
      return { ...this.#start.append(bytes), device: this.#startSlot };
    }
    const device = this.#current;
    if (device === undefined) throw new DrakkarError('internal', 'data came while no device was open');
    this.#currentSlot ??= this.#files.push(undefined) - 1;
    const startBlock = device.sizeBytes / EROFS_BLOCK_BYTES;
    device.append(bytes);
    device.pad();
    return { device: this.#currentSlot, startBlock, blocks: blocksOf(bytes.length) };
  }

  ready(): Promise<void> | undefined {
    return this.#current?.ready() ?? this.#start?.ready();
  }

  async finish(): Promise<void> {
    const device = this.#current;
    const slot = this.#currentSlot;
    this.#current = undefined;
    this.#currentSlot = undefined;
    if (device === undefined) return;
    if (slot !== undefined) {
      const staged = await device.finish();
      this.#files[slot] = staged.file;
      this.#made.push(staged);
      return;
    }
    await device.close();
    await Promise.all([rm(`${this.#basePath()}.raw`), rm(`${this.#basePath()}.blob`)]);
  }

  /**
   * Writes the device of what starts read, when no more comes. Chunks that lie on it have moved then.
   *
   * @param root the merged tree
   * @param order paths in the order in which starts read them
   */
  async finishStart(
    root: Directory,
    order: Iterable<string>,
  ): Promise<{ readonly device: number; readonly moved: MovedBlocks } | undefined> {
    const device = this.#startSlot;
    if (this.#start === undefined || device === undefined) return undefined;
    const { staged, moved } = await this.#start.write(root, device, order);
    this.#files[device] = staged.file;
    this.#made.push(staged);
    return { device, moved };
  }
}
