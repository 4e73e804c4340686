/** Bytes that wait for the write before them, at most. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/**
 * Turns many small chunks into few writes without holding any back: the first is written at once, and what comes while a write
 * runs goes out together in the next.
 */
export class GatheringWriter {
  readonly #write: (buffers: Buffer[]) => Promise<void>;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(write: (buffers: Buffer[]) => Promise<void>) {
    this.#write = write;
  }

  /** Returns when there is room for more. @throws what an earlier write threw */
  async push(chunk: Buffer): Promise<void> {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    this.#running ??= this.#run();
    if (this.#waitingBytes >= MAX_WAITING_BYTES) await this.#running;
    this.#check();
  }

  /** Returns when everything is written. @throws what a write threw */
  async end(): Promise<void> {
    await this.#running;
    this.#check();
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && this.#failure === undefined) {
        const buffers = this.#waiting;
        this.#waiting = [];
        this.#waitingBytes = 0;
        await this.#write(buffers);
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#running = undefined;
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
