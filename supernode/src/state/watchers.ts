import type { ChangedKeys } from './contract.ts';

interface Watcher {
  readonly prefix: string;
  readonly listener: (keys: ChangedKeys) => void;
}

/** Who is told of which changes. */
export class Watchers {
  readonly #watchers = new Set<Watcher>();

  add(prefix: string, listener: Watcher['listener']): Disposable {
    const watcher = { prefix, listener };
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  tell(keys: ChangedKeys): void {
    for (const { prefix, listener } of this.#watchers) {
      const theirs = keys?.filter((key) => key.startsWith(prefix)) ?? null;
      if (theirs === null || theirs.length > 0) listener(theirs);
    }
  }
}
