import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ApiServer,
  type ClusterObject,
  type ObjectList,
  type ResourcePath,
  StatusError,
  type WatchEvent,
} from './contract.ts';
import { delayMs } from './retry.ts';

export interface ReflectorOptions<T> {
  readonly path: ResourcePath;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Of lists and watches; where only names and labels are wanted, {@link METADATA_ONLY}. */
  readonly accept?: string;
  /** What is kept of each. */
  keep(object: ClusterObject): T;
  /** Something has come, changed or gone; `undefined` is what it was, or is now. @param key as {@link keyOf} */
  changed(now: T | undefined, before: T | undefined, key: string): void;
  /** A watch has begun: what is known is so. */
  followed?(): void;
  /** It goes on trying. */
  failed(error: StatusError): void;
}

/** Objects without spec and status. Source: Kubernetes, “Receiving resources as partial object metadata”. */
export const METADATA_ONLY =
  'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/** Of one object, or of a watch, what is said of lists. */
export const ofOne = (accept: string): string => accept.replace('List;', ';');

const PAGE = 500;
/** Watches are ended by the server after a time between the two, so that not all begin anew at once. */
const WATCH_SECONDS = { least: 300, most: 600 };
/** A watch that was open for so long has worked. One that ends sooner, however it ends, is begun again later each time. */
const WORKED_MS = 500;

/**
 * A copy of all objects of a kind, which follows what happens to them: pages, then a watch from there on, and from there on again when it ends. Where the server has
 * forgotten what came after (410), all is listed once more, and what is different then is told of as if it had been watched.
 */
export class Reflector<T> {
  readonly #api: ApiServer;
  readonly #options: ReflectorOptions<T>;
  readonly #objects = new Map<string, T>();
  readonly #filled = Promise.withResolvers<void>();
  /** After which more is to be watched; absent before all was listed. */
  #resourceVersion: string | undefined;

  constructor(api: ApiServer, options: ReflectorOptions<T>) {
    this.#api = api;
    this.#options = options;
  }

  /** When all was listed once. */
  get filled(): Promise<void> {
    return this.#filled.promise;
  }

  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Goes on until it is told not to; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      let openedMs = Number.POSITIVE_INFINITY;
      let retryAfterMs: number | undefined;
      try {
        if (this.#resourceVersion === undefined) await this.#list(signal);
        await this.#watch(signal, () => {
          openedMs = performance.now();
          this.#options.followed?.();
        });
      } catch (cause) {
        if (signal.aborted) break;
        const error =
          cause instanceof StatusError ? cause : new StatusError({ message: String(cause) }, { cause });
        if (error.isGone) this.#resourceVersion = undefined;
        else this.#options.failed(error);
        retryAfterMs = error.retryAfterMs;
      }
      failures = performance.now() - openedMs >= WORKED_MS ? 0 : failures + 1;
      await sleep(delayMs(failures, retryAfterMs), undefined, { signal }).catch(() => {});
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { path, labelSelector, fieldSelector, accept } = this.#options;
    const missing = new Set(this.#objects.keys());
    let next: string | undefined;
    let resourceVersion = '';
    do {
      const query = { labelSelector, fieldSelector, limit: PAGE, continue: next };
      const page: ObjectList<ClusterObject> = await this.#api.request('GET', path, {
        ...{ query, signal },
        ...(accept === undefined ? {} : { accept }),
      });
      for (const object of page.items) {
        missing.delete(keyOf(object));
        this.#take(object);
      }
      resourceVersion = page.metadata.resourceVersion;
      next = page.metadata.continue || undefined;
    } while (next !== undefined);
    for (const key of missing) this.#drop(key);
    this.#resourceVersion = resourceVersion;
    this.#filled.resolve();
  }

  /** Returns when the server has ended it. */
  async #watch(signal: AbortSignal, opened: () => void): Promise<void> {
    const { path, labelSelector, fieldSelector, accept } = this.#options;
    const { least, most } = WATCH_SECONDS;
    const timeoutSeconds = Math.round(least + Math.random() * (most - least));
    const query = {
      ...{ labelSelector, fieldSelector, timeoutSeconds },
      allowWatchBookmarks: true,
      resourceVersion: this.#resourceVersion,
    };
    const call = { query, signal, opened, ...(accept === undefined ? {} : { accept: ofOne(accept) }) };
    for await (const event of this.#api.watch(path, call)) this.#heard(event);
  }

  #heard(event: WatchEvent): void {
    if (event.type === 'ERROR') throw new StatusError(event.object);
    if (event.type === 'DELETED') this.#drop(keyOf(event.object));
    else if (event.type !== 'BOOKMARK') this.#take(event.object);
    this.#resourceVersion = event.object.metadata.resourceVersion;
  }

  #take(object: ClusterObject): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    const now = this.#options.keep(object);
    this.#objects.set(key, now);
    this.#options.changed(now, before, key);
  }

  #drop(key: string): void {
    const before = this.#objects.get(key);
    if (!this.#objects.delete(key)) return;
    this.#options.changed(undefined, before, key);
  }
}

/** `NAMESPACE/NAME`, or `NAME` of what belongs to the cluster as a whole. */
export const keyOf = ({ metadata: { namespace, name } }: ClusterObject): string =>
  namespace === undefined ? name : `${namespace}/${name}`;
