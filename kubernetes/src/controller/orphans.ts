import { WorkQueue } from '../cluster/index.ts';
import type { ControllerLog, Fleet } from './contract.ts';

export interface OrphansModules {
  readonly fleet: Pick<Fleet, 'owners' | 'ordersOf' | 'end' | 'forget'>;
  isThere(owner: string): boolean;
  readonly log: ControllerLog;
}

/** All are looked at together. */
const ALL = '';

/** Ends what owners have asked for that are gone, however they went. */
export class Orphans implements AsyncDisposable {
  readonly #modules: OrphansModules;
  readonly #queue: WorkQueue;

  constructor(modules: OrphansModules) {
    this.#modules = modules;
    this.#queue = new WorkQueue({
      atOnce: 1,
      work: (_, signal) => this.#end(signal),
      failed: (_, error) => modules.log.warn({ error }, 'what was asked for by who is gone goes on'),
    });
  }

  /** One may be gone. */
  look(): void {
    this.#queue.add(ALL);
  }

  async endAll(owner: string): Promise<void> {
    const { fleet } = this.#modules;
    for (const order of [...fleet.ordersOf(owner).keys()]) await fleet.end(owner, order);
    fleet.forget(owner);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue[Symbol.asyncDispose]();
  }

  async #end(signal: AbortSignal): Promise<undefined> {
    const { fleet, isThere } = this.#modules;
    for (const owner of fleet.owners()) {
      signal.throwIfAborted();
      if (!isThere(owner)) await this.endAll(owner);
    }
  }
}
