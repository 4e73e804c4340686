/** So long nobody has needed a buffer that is let go. */
const IDLE_MS = 5_000;

/**
 * Buffers that are used again. Each new one counts as memory outside the heap, and a few dozen MiB of that make V8 look through all
 * of the heap: at 25 MB/s it did so three times a second, for half of the daemon's time.
 */
export class BufferPool {
  readonly #bytes: number;
  readonly #kept: number;
  readonly #free: Buffer[] = [];
  /** Fewest that were free since the last look: so many nobody needed. */
  #fewest = 0;
  #idle: NodeJS.Timeout | undefined;

  /** @param bytes of each @param kept how many stay when nobody uses them */
  constructor(bytes: number, kept: number) {
    this.#bytes = bytes;
    this.#kept = kept;
  }

  take(): Buffer {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
    this.#fewest = Math.min(this.#fewest, this.#free.length);
    return buffer;
  }

  /** Nobody may use it from now on. */
  give(buffer: Buffer): void {
    this.#free.push(buffer);
    if (this.#idle === undefined) this.#trimLater();
  }

  #trimLater(): void {
    if (this.#free.length <= this.#kept) return;
    this.#fewest = this.#free.length;
    this.#idle = setTimeout(() => {
      this.#idle = undefined;
      this.#free.splice(this.#kept, this.#fewest);
      this.#trimLater();
    }, IDLE_MS).unref();
  }
}
