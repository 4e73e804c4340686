/**
 * Buffers that are used again. Each new one counts as memory outside the heap, and a few dozen MiB of that make V8 look through all
 * of the heap: at 25 MB/s it did so three times a second, for half of the daemon's time.
 */
export class BufferPool {
  readonly #bytes: number;
  readonly #kept: number;
  readonly #free: Buffer[] = [];

  /** @param bytes of each @param kept how many stay when nobody uses them */
  constructor(bytes: number, kept: number) {
    this.#bytes = bytes;
    this.#kept = kept;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  /** Nobody may use it from now on. */
  give(buffer: Buffer): void {
    if (this.#free.length < this.#kept) this.#free.push(buffer);
  }
}
