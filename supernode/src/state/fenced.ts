import { DrakkarError } from '@drakkar/protocol';
import type { Change, ChangedKeys, Check, Entry, ListOptions, StateStore } from './contract.ts';

/**
 * The state as long as something in it is what it was: from then on nothing is changed through this any more. What is behind it is not this one's
 * to close.
 */
export class FencedState implements StateStore {
  readonly #state: StateStore;
  readonly #fence: Check;

  constructor(state: StateStore, fence: Check) {
    this.#state = state;
    this.#fence = fence;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#state.get(key);
  }

  list(prefix: string, options: ListOptions): Promise<Entry[]> {
    return this.#state.list(prefix, options);
  }

  /** @throws `unavailable` where the fence is not what it was */
  async commit(changes: readonly Change[], checks: readonly Check[] = []): Promise<number | undefined> {
    const revision = await this.#state.commit(changes, [...checks, this.#fence]);
    if (revision !== undefined) return revision;
    const fence = await this.#state.get(this.#fence.key);
    if (fence?.revision === this.#fence.expects) return undefined;
    throw new DrakkarError('unavailable', 'another supernode leads now', { hint: 'try again' });
  }

  watch(prefix: string, listener: (keys: ChangedKeys) => void): Disposable {
    return this.#state.watch(prefix, listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
