import { EventEmitter, on } from 'node:events';
import {
  type ApiServer,
  type Call,
  type ClusterObject,
  StatusError,
  type WatchCall,
  type WatchEvent,
} from '../../../src/cluster/contract.ts';
import type { Condition, SnapshotPolicyStatus } from '../../../src/resources/index.ts';

interface Said {
  readonly status: SnapshotPolicyStatus;
}

/** An API server in memory: lists, watches, and objects that are read by their paths. */
export class MemoryApi implements ApiServer {
  /** Of requests and watches. */
  readonly asked: { readonly path: string; readonly signal: AbortSignal | undefined }[] = [];
  /** By paths that are answered so. */
  readonly refusals = new Map<string, number>();
  /** By paths that are answered when these have come about. */
  readonly delays = new Map<string, Promise<void>>();
  readonly #lists = new Map<string, Map<string, ClusterObject>>();
  readonly #singles = new Map<string, unknown>();
  readonly #statuses = new Map<string, Said>();
  readonly #events = new EventEmitter();
  #version = 0;

  async request<T>(method: string, path: string, { signal, body }: Call = {}): Promise<T> {
    this.#ask(path, signal);
    await this.delays.get(path);
    if (path.endsWith('/status')) this.#statuses.set(path, body as Said);
    if (method !== 'GET') return {} as T;
    if (this.#singles.has(path)) return this.#singles.get(path) as T;
    if (path.includes('/namespaces/')) throw new StatusError({ code: 404 });
    const items = [...(this.#lists.get(path)?.values() ?? [])];
    return { metadata: { resourceVersion: `${this.#version}` }, items } as T;
  }

  async *watch(path: string, { signal, opened }: WatchCall = {}): AsyncGenerator<WatchEvent> {
    this.#ask(path, signal);
    opened?.();
    for await (const [event] of on(this.#events, path, { ...(signal === undefined ? {} : { signal }) }))
      yield event;
  }

  /** The last that was said of one. */
  conditionOf(path: string, name: string): Condition | undefined {
    return this.#statuses.get(`${path}/${name}/status`)?.status.conditions?.[0];
  }

  isWatched(path: string): boolean {
    return this.#events.listenerCount(path) > 0;
  }

  timesOf(path: string): number {
    return this.asked.filter((each) => each.path === path).length;
  }

  put(
    path: string,
    metadata: Partial<ClusterObject['metadata']> & { name: string },
    more: object = {},
  ): void {
    this.#version += 1;
    const object = {
      ...{ ...more, metadata: { uid: metadata.name, resourceVersion: `${this.#version}`, ...metadata } },
    };
    const list = this.#lists.get(path) ?? new Map();
    this.#lists.set(path, list.set(keyOf(metadata), object));
    this.#events.emit(path, { type: 'MODIFIED', object });
  }

  remove(path: string, metadata: { readonly name: string; readonly namespace?: string }): void {
    const object = this.#lists.get(path)?.get(keyOf(metadata));
    this.#lists.get(path)?.delete(keyOf(metadata));
    this.#events.emit(path, { type: 'DELETED', object });
  }

  /** What is read by its own path. */
  hold(path: string, object: unknown): void {
    this.#singles.set(path, object);
  }

  #ask(path: string, signal: AbortSignal | undefined): void {
    this.asked.push({ path, signal });
    const code = this.refusals.get(path);
    if (code !== undefined) throw new StatusError({ code });
  }
}

const keyOf = ({ namespace = '', name }: { readonly name: string; readonly namespace?: string }) =>
  `${namespace}/${name}`;
