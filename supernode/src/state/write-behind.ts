import { setImmediate as nextTurn } from 'node:timers/promises';
import { untraced } from '@drakkar/service';
import type { Change, StateStore } from './contract.ts';

/** What has changed together is written together. */
const DELAY_MS = 50;
const RETRY_MS = 1_000;
const CHANGES_AT_ONCE = 200;

/**
 * Changes that are written soon: of each key the last one alone. What can't be written now is kept and tried again, however long the state is away; it is no
 * more than what changes.
 */
export class WriteBehind implements AsyncDisposable {
  readonly #store: StateStore;
  readonly #onChange: ((failure: unknown) => void) | undefined;
  readonly #pending = new Map<string, Change>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;
  #isEnding = false;

  /** @param onChange told when writing begins to fail, and with nothing when it works again */
  constructor(store: StateStore, onChange?: (failure: unknown) => void) {
    this.#store = store;
    this.#onChange = onChange;
  }

  /** Why nothing could be written the last time; `undefined` while all is well. */
  get failure(): unknown {
    return this.#failure;
  }

  /** How many are not written yet. */
  get size(): number {
    return this.#pending.size;
  }

  isPending(key: string): boolean {
    return this.#pending.has(key);
  }

  put(change: Change): void {
    this.#pending.set(change.key, change);
    this.#writeIn(DELAY_MS);
  }

  /** Returns when all that was put is written. @throws why it could not be; it is tried again all the same */
  async flush(): Promise<void> {
    this.#write();
    await this.#writing;
    if (this.#pending.size > 0 && this.#failure !== undefined) throw this.#failure;
  }

  /** Writes what is left, if that is possible now. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.flush().catch(() => {});
  }

  #writeIn(delayMs: number): void {
    if (this.#isEnding) return;
    this.#timer ??= setTimeout(() => this.#write(), delayMs);
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => untraced(() => this.#writeAll()));
  }

  /** Never rejects. */
  async #writeAll(): Promise<void> {
    while (this.#pending.size > 0) {
      const batch = [...this.#pending.values().take(CHANGES_AT_ONCE)];
      try {
        await this.#store.commit(batch);
        if (this.#failure !== undefined) this.#onChange?.(undefined);
        this.#failure = undefined;
      } catch (cause) {
        if (this.#failure === undefined) this.#onChange?.(cause);
        this.#failure = cause;
        this.#writeIn(RETRY_MS);
        return;
      }
      // What was put meanwhile is newer.
      for (const change of batch)
        if (this.#pending.get(change.key) === change) this.#pending.delete(change.key);
      // A state that is a file has kept everybody else waiting.
      await nextTurn();
    }
  }
}
