import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DrakkarError, type ErrorDocument } from '@drakkar/protocol';
import { checkChanges } from './checks.ts';
import type { Change, ChangedKeys, Check, Entry, ListOptions, StateStore } from './contract.ts';
import { SqliteState } from './sqlite.ts';
import { Watchers } from './watchers.ts';

/** What the thread is told. */
export type ThreadRequest =
  | { readonly id: number; readonly changes: readonly Change[]; readonly checks: readonly Check[] }
  | 'end';

/** What it says. */
export type ThreadAnswer =
  | { readonly id: number; readonly revision: number | undefined }
  | { readonly id: number; readonly error: ErrorDocument }
  | { readonly changed: ChangedKeys };

type Waiting = PromiseWithResolvers<number | undefined>;

/** A {@link SqliteState} that writes in a thread, one commit after the other: nobody but who has changed something waits for the disk. */
export class SqliteThread implements StateStore {
  readonly #path: string;
  readonly #reader: SqliteState;
  readonly #watchers = new Watchers();
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #last = 0;

  /** @throws `unsupported` where a later version has written the file */
  constructor(path: string) {
    this.#path = path;
    this.#reader = new SqliteState(path, false);
    this.#worker = this.#begin();
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#reader.get(key);
  }

  list(prefix: string, options: ListOptions): Promise<Entry[]> {
    return this.#reader.list(prefix, options);
  }

  async commit(changes: readonly Change[], checks: readonly Check[] = []): Promise<number | undefined> {
    checkChanges(changes, checks);
    this.#worker ??= this.#begin();
    this.#last += 1;
    const waiting: Waiting = Promise.withResolvers();
    this.#waiting.set(this.#last, waiting);
    this.#worker.ref();
    this.#worker.postMessage({ id: this.#last, changes, checks } satisfies ThreadRequest);
    return await waiting.promise;
  }

  watch(prefix: string, listener: (keys: ChangedKeys) => void): Disposable {
    return this.#watchers.add(prefix, listener);
  }

  /** When all that was committed is written. */
  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker;
    if (worker !== undefined) {
      worker.ref();
      const ended = once(worker, 'exit');
      worker.postMessage('end' satisfies ThreadRequest);
      await ended;
    }
    await this.#reader[Symbol.asyncDispose]();
  }

  #begin(): Worker {
    const worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), { workerData: this.#path });
    worker.unref();
    let cause: unknown;
    worker.on('message', (answer: ThreadAnswer) => this.#hear(answer));
    worker.on('error', (error) => {
      cause = error;
    });
    worker.once('exit', () => {
      this.#worker = undefined;
      // Of what was not answered nobody knows whether it has happened.
      for (const { reject } of this.#waiting.values())
        reject(new DrakkarError('unavailable', 'the thread that writes the state has ended', { cause }));
      this.#waiting.clear();
    });
    return worker;
  }

  #hear(answer: ThreadAnswer): void {
    if ('changed' in answer) {
      this.#watchers.tell(answer.changed);
      return;
    }
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#worker?.unref();
    if ('error' in answer) waiting?.reject(DrakkarError.fromJSON(answer.error));
    else waiting?.resolve(answer.revision);
  }
}
