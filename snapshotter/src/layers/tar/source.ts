import { DrakkarError } from '@drakkar/protocol';
import type { Place } from '../place.ts';

const NOTHING = Buffer.alloc(0);

/**
 * The bytes of a layer with a cursor. What lies in the current chunk is handed out without copying and without a
 * promise; only at a chunk's end is there something to await.
 */
export class ByteSource {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #place: Place;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#interrupt?.();
  #interrupt: (() => void) | undefined;
  #chunk: Buffer = NOTHING;
  #at = 0;
  #ended = false;

  constructor(bytes: AsyncIterable<Uint8Array>, place: Place, signal: AbortSignal | undefined) {
    this.#iterator = bytes[Symbol.asyncIterator]();
    this.#place = place;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort);
  }

  /** The next `length` bytes when the current chunk has them all. Valid until the next call of an async method. */
  takeExactly(length: number): Buffer | undefined {
    if (this.#chunk.length - this.#at < length) return undefined;
    return this.takeUpTo(length);
  }

  /** What the current chunk has of the next `length` bytes; empty when it is used up. Valid as above. */
  takeUpTo(length: number): Buffer {
    const taken = this.#chunk.subarray(this.#at, this.#at + length);
    this.#at += taken.length;
    return taken;
  }

  /** The next `length` bytes, or fewer where the layer ends, in memory of their own. */
  async read(length: number): Promise<Buffer> {
    const target = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const part = this.takeUpTo(length - filled);
      target.set(part, filled);
      filled += part.length;
      if (part.length === 0 && !(await this.fill())) break;
    }
    return target.subarray(0, filled);
  }

  /** Passes over bytes; returns how many were missing at the end of the layer. */
  async skip(length: number): Promise<number> {
    let left = length;
    while (left > 0) {
      left -= this.takeUpTo(left).length;
      if (left > 0 && !(await this.fill())) break;
    }
    return left;
  }

  /** Fetches the next chunk; the current one must be used up. False at the end of the layer. */
  async fill(): Promise<boolean> {
    while (!this.#ended) {
      if (this.#signal?.aborted) throw this.#cancelled();
      const next = await this.#next();
      if (next.done === true) {
        this.#ended = true;
        return false;
      }
      const { value } = next;
      this.#place.addBytes(value.length);
      if (value.length === 0) continue;
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      this.#at = 0;
      return true;
    }
    this.#chunk = NOTHING;
    this.#at = 0;
    return false;
  }

  /** Lets go of the bytes. Does not wait for a producer that hangs. */
  close(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    if (this.#ended) return;
    this.#ended = true;
    // The failure that ended the reading has been thrown already; the producer's own farewell adds nothing.
    void Promise.resolve(this.#iterator.return?.()).catch(() => undefined);
  }

  #next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#signal === undefined) return this.#iterator.next();
    return new Promise((resolve, reject) => {
      this.#interrupt = () => reject(this.#cancelled());
      this.#iterator.next().then(resolve, reject);
    });
  }

  #cancelled(): DrakkarError {
    return new DrakkarError('cancelled', `reading layer ${this.#place.layer} was cancelled`, {
      cause: this.#signal?.reason,
    });
  }
}
