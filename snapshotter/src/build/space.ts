/** Asked for at a time; a build asks its parent process some dozens of times. */
const STEP_BYTES = 64 * 1024 * 1024;

/** Reserves disk space in large steps, ahead of writing. */
export class SpaceLedger {
  readonly #request: (bytes: number) => Promise<void>;
  #reservedBytes = 0;
  #usedBytes = 0;
  #pending: Promise<void> = Promise.resolve();

  constructor(request: (bytes: number) => Promise<void>) {
    this.#request = request;
  }

  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Resolves when the bytes may be written. */
  async take(bytes: number): Promise<void> {
    this.#usedBytes += bytes;
    const wanted = this.#usedBytes;
    if (wanted <= this.#reservedBytes) return;
    const asked = this.#pending.then(async () => {
      if (wanted <= this.#reservedBytes) return;
      const step = Math.max(STEP_BYTES, wanted - this.#reservedBytes);
      await this.#request(step);
      this.#reservedBytes += step;
    });
    this.#pending = asked.catch(() => undefined);
    await asked;
  }
}
