import {
  type ApiServer,
  type ClusterObject,
  isNotFound,
  METADATA_ONLY,
  ofOne,
  pathOf,
  WorkQueue,
} from '../cluster/index.ts';
import { GROUP } from '../resources/index.ts';
import type { ControllerLog } from './contract.ts';

export interface ToldNodesModules {
  readonly api: Pick<ApiServer, 'request'>;
  /** Of so many ImageSnapshots nodes are told of, the first by their names. */
  readonly most: number;
  readonly log: ControllerLog;
}

/** What a node is labelled with that has all of an ImageSnapshot. */
export const labelOf = (name: string): string => `snapshot.${GROUP}/${name}`;

const FIELD_MANAGER = 'drakkar-node-labels';
/** Source: Kubernetes, “Labels and selectors”: of a label’s name. */
const MAX_NAME = 63;
const AT_ONCE = 4;
/** What changes in a row on one node is one request. */
const SOON_MS = 1_000;
/** All ImageSnapshots have been looked at by then: before that a node would lose labels that are right. */
const LATER_MS = 5 * 60_000;

/** Labels nodes with what they have, so that schedulers can prefer those. */
export class ToldNodes implements AsyncDisposable {
  readonly #modules: ToldNodesModules;
  /** By ImageSnapshot, in the order of their names. */
  readonly #ready = new Map<string, ReadonlySet<string>>();
  readonly #queue: WorkQueue;

  constructor(modules: ToldNodesModules) {
    this.#modules = modules;
    this.#queue = new WorkQueue({
      atOnce: AT_ONCE,
      work: (node, signal) => this.#tell(node, signal),
      failed: (node, error) => modules.log.warn({ node, error }, 'a node can’t be labelled yet'),
    });
  }

  /** These nodes have all of it; nobody has where there are none. */
  ready(name: string, nodes: ReadonlySet<string>): void {
    if (this.#modules.most === 0 || name.length > MAX_NAME) return;
    const before = this.#shown();
    if (nodes.size === 0) this.#ready.delete(name);
    else this.#ready.set(name, nodes);
    const after = this.#shown();
    const changed = new Set([...before.keys(), ...after.keys()]);
    for (const each of changed)
      for (const node of (before.get(each) ?? EMPTY).symmetricDifference(after.get(each) ?? EMPTY))
        this.#queue.addIn(node, SOON_MS);
  }

  /** A node is there, or has other labels: what another supernode has told of it may be so no longer. */
  look(node: string): void {
    if (this.#modules.most > 0) this.#queue.addIn(node, LATER_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue[Symbol.asyncDispose]();
  }

  #shown(): ReadonlyMap<string, ReadonlySet<string>> {
    const names = [...this.#ready.keys()].sort().slice(0, this.#modules.most);
    return new Map(names.map((name) => [name, this.#ready.get(name) ?? EMPTY]));
  }

  async #tell(node: string, signal: AbortSignal): Promise<undefined> {
    const has = [...this.#shown()].flatMap(([name, nodes]) =>
      nodes.has(node) ? [[labelOf(name), 'ready']] : [],
    );
    const { api } = this.#modules;
    const path = pathOf`/api/v1/nodes/${node}`;
    try {
      const { metadata } = await api.request<ClusterObject>('GET', path, {
        accept: ofOne(METADATA_ONLY),
        signal,
      });
      const labels = Object.fromEntries(has);
      // With its uid one that has left meanwhile is not made anew.
      const body = { apiVersion: 'v1', kind: 'Node', metadata: { name: node, uid: metadata.uid, labels } };
      const query = { fieldManager: FIELD_MANAGER, force: true };
      await api.request('PATCH', path, { body, query, signal, contentType: 'application/apply-patch+yaml' });
    } catch (error) {
      // It has left.
      if (!isNotFound(error)) throw error;
    }
  }
}

const EMPTY: ReadonlySet<string> = new Set();
