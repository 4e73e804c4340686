import { type FileHandle, open } from 'node:fs/promises';
import { type Digest, DrakkarError } from '@drakkar/protocol';
import type { ContentReader } from './contract.ts';
import type { ContentRow } from './index-file.ts';

interface Shared {
  readonly handle: Promise<FileHandle>;
  users: number;
  /** Of those, who lets go of what is wanted for something else. */
  yielding: number;
}

/** One descriptor per content however many read it; a bound on how many there are. */
export class OpenFiles {
  readonly #files = new Map<Digest, Shared>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  isOpen(digest: Digest): boolean {
    return this.#files.has(digest);
  }

  /** Somebody has it open who does not let go of it. */
  isHeld(digest: Digest): boolean {
    const shared = this.#files.get(digest);
    return shared !== undefined && shared.users > shared.yielding;
  }

  /** @throws `limit_exceeded` when too many others are open */
  async open(digest: Digest, path: string, yields: boolean): Promise<FileHandle> {
    let shared = this.#files.get(digest);
    if (shared === undefined) {
      if (this.#files.size >= this.#limit) {
        throw new DrakkarError('limit_exceeded', `${this.#limit} files of the store are open already`, {
          hint: 'try again when fewer transfers run',
        });
      }
      shared = { handle: open(path, 'r'), users: 0, yielding: 0 };
      this.#files.set(digest, shared);
    }
    shared.users += 1;
    if (yields) shared.yielding += 1;
    try {
      return await shared.handle;
    } catch (error) {
      this.#files.delete(digest);
      throw error;
    }
  }

  async close(digest: Digest, yields: boolean): Promise<void> {
    const shared = this.#files.get(digest);
    if (shared === undefined) return;
    shared.users -= 1;
    if (yields) shared.yielding -= 1;
    if (shared.users > 0) return;
    this.#files.delete(digest);
    await (await shared.handle).close();
  }
}

export class FileReader implements ContentReader {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string | null;
  readonly #handle: FileHandle;
  readonly #release: () => Promise<void>;
  #released: Promise<void> | undefined;

  constructor(row: ContentRow, handle: FileHandle, release: () => Promise<void>) {
    this.digest = row.digest;
    this.sizeBytes = row.sizeBytes;
    this.mediaType = row.mediaType;
    this.#handle = handle;
    this.#release = release;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }
}
