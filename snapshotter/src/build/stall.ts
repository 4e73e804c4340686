/** Notices when the builder does nothing for too long. Time in which it waits for somebody else does not count. */
export class StallWatch {
  readonly #timeoutMs: number;
  readonly #onStall: () => void;
  #timer: NodeJS.Timeout | undefined;
  #waits = 0;

  constructor(timeoutMs: number, onStall: () => void) {
    this.#timeoutMs = timeoutMs;
    this.#onStall = onStall;
    this.touch();
  }

  /** There was progress. */
  touch(): void {
    clearTimeout(this.#timer);
    if (this.#waits === 0) this.#timer = setTimeout(this.#onStall, this.#timeoutMs);
  }

  /** The builder waits for `work`, which has a deadline of its own. */
  async during<Value>(work: Promise<Value>): Promise<Value> {
    this.#waits += 1;
    this.touch();
    try {
      return await work;
    } finally {
      this.#waits -= 1;
      this.touch();
    }
  }

  [Symbol.dispose](): void {
    this.#waits = 1;
    clearTimeout(this.#timer);
  }
}
