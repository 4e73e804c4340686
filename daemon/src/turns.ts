/** Lets tasks with the same key run one after the other, in the order of asking; those with others run meanwhile. */
export class Turns<Key> {
  readonly #last = new Map<Key, Promise<unknown>>();

  async run<Value>(key: Key, task: () => Promise<Value>): Promise<Value> {
    const mine = (this.#last.get(key) ?? Promise.resolve()).then(task, task);
    this.#last.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}
