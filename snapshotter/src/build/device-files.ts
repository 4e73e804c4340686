import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError, EROFS_BLOCK_BYTES, type VolumeFile } from '@drakkar/protocol';
import { type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from '../blob/index.ts';
import { blocksOf } from '../erofs/index.ts';
import type { ChunkPlace } from './chunk-index.ts';
import type { ChunkStore } from './chunk-sink.ts';
import type { Dictionary } from './dictionary.ts';

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

  constructor(directory: string, options: Omit<VolumeFileWriterOptions, 'basePath'>, dictionary: Dictionary) {
    this.#directory = directory;
    this.#options = options;
    this.#dictionary = dictionary;
  }

  /** All devices in slot order, those of the dictionary as it has them. */
  get files(): readonly VolumeFile[] {
    return this.#files.filter((file) => file !== undefined);
  }

  /** Those that were made here. */
  get made(): readonly StagedFile[] {
    return this.#made;
  }

  /** Raw files of those that were made here, by slot. */
  get madePaths(): ReadonlyMap<number, string> {
    const slots = new Map(this.#files.map((file, slot) => [file?.rawDigest, slot]));
    return new Map(this.#made.map(({ file, rawPath }) => [slots.get(file.rawDigest) ?? 0, rawPath]));
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

  append(bytes: Uint8Array): ChunkPlace {
    const device = this.#current;
    if (device === undefined) throw new DrakkarError('internal', 'data came while no device was open');
    this.#currentSlot ??= this.#files.push(undefined) - 1;
    const startBlock = device.sizeBytes / EROFS_BLOCK_BYTES;
    device.append(bytes);
    device.pad();
    return { device: this.#currentSlot, startBlock, blocks: blocksOf(bytes.length) };
  }

  ready(): Promise<void> | undefined {
    return this.#current?.ready();
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
}
