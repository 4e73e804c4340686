import { type FileHandle, open, rm } from 'node:fs/promises';
import { DrakkarError } from '@drakkar/protocol';
import { readFully, writeFully } from '../blob/index.ts';

/** Bytes in memory that are on their way to the disk. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;

/** Bytes that wait on disk until it is known where they belong. Memory is bounded if {@link ready} is heeded. */
export class Spool {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #reserve: (bytes: number) => Promise<void>;
  #pendingBytes = 0;
  #tail: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  private constructor(path: string, file: FileHandle, reserve: (bytes: number) => Promise<void>) {
    this.#path = path;
    this.#file = file;
    this.#reserve = reserve;
  }

  /** @param reserve awaited before bytes are written to disk */
  static async create(path: string, reserve: (bytes: number) => Promise<void>): Promise<Spool> {
    return new Spool(path, await open(path, 'wx+'), reserve);
  }

  /** Takes a copy of the bytes. */
  write(offset: number, bytes: Uint8Array): void {
    const copy = Buffer.from(bytes);
    this.#pendingBytes += copy.length;
    this.#tail = this.#tail
      .then(async () => {
        await this.#reserve(copy.length);
        await writeFully(this.#file, copy, offset);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#pendingBytes -= copy.length;
      });
  }

  /** Rejects with what went wrong in the background; `undefined` if there is nothing to wait for. */
  ready(): Promise<void> | undefined {
    return this.#failure === undefined && this.#pendingBytes <= MAX_PENDING_BYTES
      ? undefined
      : this.#written();
  }

  async #written(): Promise<void> {
    await this.#tail;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async read(offset: number, sizeBytes: number): Promise<Buffer> {
    await this.#written();
    const bytes = Buffer.allocUnsafe(sizeBytes);
    if ((await readFully(this.#file, bytes, offset)) !== sizeBytes) {
      throw new DrakkarError('internal', 'what was held back is gone');
    }
    return bytes;
  }

  /** Ends what runs in the background, and removes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail;
    await this.#file.close();
    await rm(this.#path, { force: true });
  }
}
