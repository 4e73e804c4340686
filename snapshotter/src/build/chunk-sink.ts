import { hash } from 'node:crypto';
import { DrakkarError, EROFS_BLOCK_BYTES } from '@drakkar/protocol';
import { isZero } from '../blob/index.ts';
import { RunList } from '../erofs/index.ts';
import type { ContentSink, ContentWriter, FileContent } from '../layers/index.ts';
import type { ChunkIndex, ChunkPlace } from './chunk-index.ts';

/** Files are cut into one chunk of their own size up to 1 MiB, and into chunks of 1 MiB beyond. */
const MIN_CHUNK_BITS = 12;
const MAX_CHUNK_BITS = 20;

export function chunkBitsFor(sizeBytes: number): number {
  const bits = sizeBytes <= 1 ? 0 : Math.ceil(Math.log2(sizeBytes));
  return Math.min(MAX_CHUNK_BITS, Math.max(MIN_CHUNK_BITS, bits));
}

/** Where chunks that are not known yet are stored, or found on the devices of an earlier snapshot. */
export interface ChunkStore {
  /** `undefined` for a chunk that no earlier snapshot has. */
  find(sha256: Uint8Array, sizeBytes: number): ChunkPlace | undefined;
  append(bytes: Uint8Array): ChunkPlace;
  /** Set while the store needs a pause; rejects with what went wrong. */
  ready(): Promise<void> | undefined;
}

export interface ChunkCounts {
  /** Bytes of files that hold data, holes and duplicates included. */
  fileBytes: number;
  /** Bytes that were not stored, because the same chunk was known. */
  dedupedBytes: number;
  /** Bytes that were not stored, because an earlier snapshot has them. */
  dictionaryBytes: number;
  /** Bytes that were not stored, because a whole chunk was zero. */
  holeBytes: number;
}

/** Cuts files into chunks, and stores each different chunk once. */
export class ChunkSink implements ContentSink {
  readonly counts: ChunkCounts = { fileBytes: 0, dedupedBytes: 0, dictionaryBytes: 0, holeBytes: 0 };
  readonly #index: ChunkIndex;
  readonly #store: ChunkStore;
  /** The chunk that is being put together; only one file is open at a time. */
  readonly #buffer = Buffer.allocUnsafeSlow(2 ** MAX_CHUNK_BITS);

  constructor(index: ChunkIndex, store: ChunkStore) {
    this.#index = index;
    this.#store = store;
  }

  begin(sizeBytes: number): ContentWriter {
    return new FileCutter(sizeBytes, this.#buffer, (bytes) => this.#place(bytes), this.#store);
  }

  /** `undefined` for a hole. */
  #place(bytes: Uint8Array): ChunkPlace | undefined {
    this.counts.fileBytes += bytes.length;
    if (isZero(bytes)) {
      this.counts.holeBytes += bytes.length;
      return undefined;
    }
    const key = hash('sha256', bytes, 'buffer');
    const known = this.#index.find(key);
    if (known !== undefined) {
      this.counts.dedupedBytes += bytes.length;
      return known;
    }
    const earlier = this.#store.find(key, bytes.length);
    if (earlier !== undefined) this.counts.dictionaryBytes += bytes.length;
    const place = earlier ?? this.#store.append(bytes);
    this.#index.add(key, place);
    return place;
  }
}

class FileCutter implements ContentWriter {
  readonly #sizeBytes: number;
  readonly #chunkBits: number;
  readonly #buffer: Buffer;
  readonly #place: (bytes: Uint8Array) => ChunkPlace | undefined;
  readonly #store: ChunkStore;
  readonly #runs: RunList;
  /** The chunk in the buffer, and how much of it is there; nothing is where `#filled` is 0. */
  #chunk = 0;
  #filled = 0;

  constructor(
    sizeBytes: number,
    buffer: Buffer,
    place: (bytes: Uint8Array) => ChunkPlace | undefined,
    store: ChunkStore,
  ) {
    this.#sizeBytes = sizeBytes;
    this.#chunkBits = chunkBitsFor(sizeBytes);
    this.#buffer = buffer;
    this.#place = place;
    this.#store = store;
    this.#runs = new RunList(2 ** this.#chunkBits / EROFS_BLOCK_BYTES);
  }

  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    if (offset + bytes.length > this.#sizeBytes) {
      throw new DrakkarError('invalid_content', `a file of ${this.#sizeBytes} bytes has data beyond its end`);
    }
    const chunkBytes = 2 ** this.#chunkBits;
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done;
      const chunk = Math.floor(at / chunkBytes);
      if (chunk !== this.#chunk) this.#complete();
      this.#chunk = chunk;
      const inChunk = at - chunk * chunkBytes;
      const length = Math.min(bytes.length - done, chunkBytes - inChunk);
      const part = bytes.subarray(done, done + length);
      if (this.#filled === 0 && length === this.#lengthOf(chunk)) {
        this.#keep(chunk, part);
      } else {
        if (inChunk > this.#filled) this.#buffer.fill(0, this.#filled, inChunk);
        this.#buffer.set(part, inChunk);
        this.#filled = inChunk + length;
        if (this.#filled === chunkBytes) this.#complete();
      }
      done += length;
    }
    return this.#store.ready();
  }

  end(): FileContent {
    this.#complete();
    const chunkBits = this.#runs.list.length === 0 ? MIN_CHUNK_BITS : this.#chunkBits;
    return { sizeBytes: this.#sizeBytes, chunkBits, runs: this.#runs.list };
  }

  #lengthOf(chunk: number): number {
    return Math.min(2 ** this.#chunkBits, this.#sizeBytes - chunk * 2 ** this.#chunkBits);
  }

  #complete(): void {
    if (this.#filled === 0) return;
    const length = this.#lengthOf(this.#chunk);
    this.#buffer.fill(0, this.#filled, length);
    this.#filled = 0;
    this.#keep(this.#chunk, this.#buffer.subarray(0, length));
  }

  #keep(chunk: number, bytes: Uint8Array): void {
    const place = this.#place(bytes);
    if (place !== undefined) this.#runs.add(chunk, place.device, place.startBlock);
  }
}
