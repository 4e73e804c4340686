import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DrakkarError, EROFS_BLOCK_BYTES } from '@drakkar/protocol';
import { type StagedFile, VolumeFileWriter, type VolumeFileWriterOptions } from '../blob/index.ts';
import type { ChunkPlace } from './chunk-index.ts';
import type { ChunkStore } from './chunk-sink.ts';

/** The devices of a build, one after the other: each is complete before the next begins, and empty ones leave no trace. */
export class DeviceFiles implements ChunkStore {
  readonly #directory: string;
  readonly #options: Omit<VolumeFileWriterOptions, 'basePath'>;
  readonly #finished: StagedFile[] = [];
  #current: VolumeFileWriter | undefined;

  constructor(directory: string, options: Omit<VolumeFileWriterOptions, 'basePath'>) {
    this.#directory = directory;
    this.#options = options;
  }

  get finished(): readonly StagedFile[] {
    return this.#finished;
  }

  #basePath(): string {
    return join(this.#directory, `device-${this.#finished.length}`);
  }

  async open(): Promise<void> {
    this.#current = await VolumeFileWriter.create({ ...this.#options, basePath: this.#basePath() });
  }

  append(bytes: Uint8Array): ChunkPlace {
    const device = this.#current;
    if (device === undefined) throw new DrakkarError('internal', 'data came while no device was open');
    const startBlock = device.sizeBytes / EROFS_BLOCK_BYTES;
    device.append(bytes);
    device.pad();
    return { device: this.#finished.length, startBlock };
  }

  ready(): Promise<void> | undefined {
    return this.#current?.ready();
  }

  async finish(): Promise<void> {
    const device = this.#current;
    this.#current = undefined;
    if (device === undefined) return;
    if (device.sizeBytes > 0) {
      this.#finished.push(await device.finish());
      return;
    }
    await device.close();
    await Promise.all([rm(`${this.#basePath()}.raw`), rm(`${this.#basePath()}.blob`)]);
  }
}
