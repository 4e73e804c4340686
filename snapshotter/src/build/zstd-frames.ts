import { DrakkarError } from '@drakkar/protocol';

/**
 * Cuts a zstd stream so that no part holds bytes of two frames. Node's decompressor ends silently after a frame when
 * the same write holds more [measured with 24.21].
 * Source of the format: RFC 8878, sections 3.1.1 and 3.1.2.
 *
 * @throws `invalid_content` where the stream ends within a frame, or goes on with what is no frame
 */
export async function* splitZstdFrames(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const scanner = new FrameScanner();
  for await (const bytes of source) {
    for (let at = 0; at < bytes.length; ) {
      const end = at + scanner.take(bytes.subarray(at));
      yield bytes.subarray(at, end);
      at = end;
    }
  }
  if (!scanner.atBoundary) throw new DrakkarError('invalid_content', 'the zstd stream ends within a frame');
}

/** What the next header bytes are, and how many: magic number, size of a skippable frame, frame descriptor, block header. */
const HEADER_BYTES = { magic: 4, skippable: 4, descriptor: 1, block: 3, end: 0 } as const;

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;

class FrameScanner {
  #stage: keyof typeof HEADER_BYTES = 'magic';
  readonly #header = Buffer.alloc(4);
  #got = 0;
  #skip = 0;
  #checksumBytes = 0;

  get atBoundary(): boolean {
    return this.#stage === 'magic' && this.#got === 0;
  }

  /** How many of the bytes belong to the frame that is being read; at least one. */
  take(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const length = Math.min(this.#skip, bytes.length - at);
        this.#skip -= length;
        at += length;
      } else {
        this.#header[this.#got++] = bytes[at++] ?? 0;
        if (this.#got === HEADER_BYTES[this.#stage]) {
          this.#got = 0;
          this.#readHeader();
        }
      }
      if (this.#stage === 'end' && this.#skip === 0) {
        this.#stage = 'magic';
        break;
      }
    }
    return at;
  }

  #readHeader(): void {
    const header = this.#header;
    if (this.#stage === 'magic') {
      const magic = header.readUInt32LE(0);
      const skippable = (magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC;
      if (!skippable && magic !== FRAME_MAGIC) {
        throw new DrakkarError('invalid_content', 'the zstd stream goes on with what is no zstd frame');
      }
      this.#stage = skippable ? 'skippable' : 'descriptor';
    } else if (this.#stage === 'skippable') {
      this.#skip = header.readUInt32LE(0);
      this.#stage = 'end';
    } else if (this.#stage === 'descriptor') {
      const descriptor = header[0] ?? 0;
      const singleSegment = (descriptor & 0x20) !== 0;
      const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
      const contentSizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
      this.#checksumBytes = (descriptor & 4) !== 0 ? 4 : 0;
      this.#skip = (singleSegment ? 0 : 1) + dictionaryBytes + contentSizeBytes;
      this.#stage = 'block';
    } else {
      const block = header.readUIntLE(0, 3);
      const runLength = ((block >> 1) & 3) === 1;
      const last = (block & 1) !== 0;
      this.#skip = (runLength ? 1 : block >>> 3) + (last ? this.#checksumBytes : 0);
      if (last) this.#stage = 'end';
    }
  }
}
