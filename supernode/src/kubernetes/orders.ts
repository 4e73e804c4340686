import type { Fleet, HostPart, Order, OrderSpec, PullSecrets } from '@drakkar/kubernetes';
import { isDrakkarError, parseReference, type RegistryCredential } from '@drakkar/protocol';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isEnded, type Job, type JobHost, type JobSpec, type Jobs, jobSpecSchema } from '../jobs/index.ts';
import { Collection, type StateStore } from '../state/index.ts';
import { targetOf } from './target.ts';

export interface OrdersModules {
  readonly state: StateStore;
  readonly jobs: Jobs;
  /** Those that are connected. */
  hosts(): Iterable<Pick<JobHost, 'name'>>;
  readonly log: Logger;
}

/** Who has asked for it, as lists say. */
export const BY = 'kubernetes';
/** Each image of each ImageSnapshot has one that does not end. */
const MOST_ACTIVE = 20_000;
/** Somebody waits for a deletion: a host that is away gives back what it has when it has no room for more. */
const EVICT_STALL_MS = 15_000;

const orderSchema = z.object({
  ...{ owner: z.string(), name: z.string(), job: z.string() },
  /** A registry is shown something for it. */
  isPrivate: z.boolean().default(false),
});
type Kept = z.output<typeof orderSchema>;

interface Known {
  readonly id: string;
  readonly owner: string;
  readonly isPrivate: boolean;
  /** As it is at the moment, or was when it ended. */
  job: Job;
}

/** What resources of Kubernetes have hosts do, as jobs. */
export class Orders implements Fleet, Disposable {
  readonly #modules: OrdersModules;
  readonly #kept: Collection<Kept>;
  readonly #byOwner = new Map<string, Map<string, Known>>();
  readonly #byJob = new Map<string, Known>();
  readonly #lent = new Map<string, PullSecrets>();
  readonly #listeners = new Set<(owner: string) => void>();
  readonly #listening: Disposable;

  private constructor(modules: OrdersModules) {
    this.#modules = modules;
    this.#kept = new Collection(modules.state, 'orders', orderSchema, (key, error) =>
      modules.log.error({ key, error }, 'an order can’t be read, and is left out'),
    );
    this.#listening = modules.jobs.onChange((job) => this.#changed(job));
  }

  /** Goes on with what was asked for. */
  static async open(modules: OrdersModules): Promise<Orders> {
    const orders = new Orders(modules);
    modules.jobs.countApart(BY, MOST_ACTIVE);
    for await (const { id, value } of orders.#kept.all()) {
      try {
        orders.#know(value, await modules.jobs.get(value.job));
      } catch (error) {
        if (!isDrakkarError(error) || error.code !== 'not_found') throw error;
        // It has ended long ago.
        await orders.#kept.remove(id);
      }
    }
    return orders;
  }

  owners(): ReadonlySet<string> {
    return new Set([...this.#byOwner.keys(), ...this.#lent.keys()]);
  }

  ordersOf(owner: string): ReadonlyMap<string, Order> {
    const all = this.#byOwner.get(owner)?.entries() ?? [].values();
    return new Map(Iterator.from(all).map(([name, { job }]) => [name, orderOf(job)]));
  }

  async begin(owner: string, name: string, order: OrderSpec): Promise<void> {
    if (this.#byOwner.get(owner)?.has(name) === true) return;
    const isPrivate = this.#credentialOf(owner, order.image) !== undefined;
    const kept = { owner, name, isPrivate };
    const change = (job: string) => [this.#kept.change(`${owner}/${name}`, { ...kept, job })];
    const job = await this.#modules.jobs.create(specOf(order), BY, undefined, { with: change });
    this.#know(kept, job);
  }

  async end(owner: string, name: string): Promise<void> {
    const known = this.#byOwner.get(owner)?.get(name);
    if (known === undefined) return;
    if (!isEnded(known.job)) await this.#modules.jobs.act(known.id, 'cancel', BY);
    await this.#kept.remove(`${owner}/${name}`);
    this.#byOwner.get(owner)?.delete(name);
    this.#byJob.delete(known.id);
  }

  lend(owner: string, secrets: PullSecrets): void {
    this.#lent.set(owner, secrets);
  }

  forget(owner: string): void {
    this.#lent.delete(owner);
    if (this.#byOwner.get(owner)?.size === 0) this.#byOwner.delete(owner);
  }

  /** What a registry may be shown for a job. */
  credentialFor({ id, spec }: Job): RegistryCredential | undefined {
    const owner = this.#byJob.get(id)?.owner;
    if (owner === undefined || !('image' in spec) || spec.image === undefined) return undefined;
    return this.#credentialOf(owner, spec.image);
  }

  /** Whether a registry is to be shown something that nobody has said yet since this supernode leads. */
  isHeld({ id }: Job): boolean {
    const known = this.#byJob.get(id);
    return known?.isPrivate === true && !this.#lent.has(known.owner);
  }

  *partsOf(owner: string, name: string): Generator<HostPart> {
    const known = this.#byOwner.get(owner)?.get(name);
    if (known === undefined) return;
    for (const { name: host, state, error } of this.#modules.jobs.works(known.id))
      yield { host, isDone: state === 'succeeded', error: state === 'failed' ? error : null };
  }

  hostNames(): ReadonlySet<string> {
    return new Set(Iterator.from(this.#modules.hosts()).map(({ name }) => name));
  }

  isKept(image: string, platform: string, except: string): boolean {
    const { registry, repository, digest } = parseReference(image);
    for (const { id, spec, resolved } of this.#modules.jobs.running()) {
      if (spec.kind !== 'preheat' || !spec.keep || this.#byJob.get(id)?.owner === except) continue;
      if (spec.platform !== undefined && spec.platform !== platform) continue;
      const other = parseReference(spec.image);
      const isSame = other.registry === registry && other.repository === repository;
      if (isSame && (other.digest ?? resolved?.root) === digest) return true;
    }
    return false;
  }

  onChange(listener: (owner: string) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #credentialOf(owner: string, image: string): RegistryCredential | undefined {
    return this.#lent.get(owner)?.of(parseReference(image));
  }

  #know({ owner, name, isPrivate }: Omit<Kept, 'job'>, job: Job): void {
    const known = { id: job.id, owner, isPrivate, job };
    const mine = this.#byOwner.get(owner) ?? new Map<string, Known>();
    this.#byOwner.set(owner, mine.set(name, known));
    this.#byJob.set(job.id, known);
  }

  #changed(job: Job): void {
    const known = this.#byJob.get(job.id);
    if (known === undefined) return;
    known.job = job;
    for (const listener of this.#listeners) listener(known.owner);
  }
}

function orderOf({ state, error, resolved, snapshot, bytes }: Job): Order {
  return {
    state: state === 'paused' ? 'waiting' : state,
    error,
    resolved: resolved && { root: resolved.root, manifest: resolved.manifest },
    snapshot: snapshot && { layout: snapshot.layout, sizeBytes: snapshot.sizeBytes },
    bytes: { upstream: bytes.upstream, peer: bytes.peer },
  };
}

function specOf(order: OrderSpec): JobSpec {
  const { image, platform } = order;
  if (order.kind === 'build') return jobSpecSchema.parse({ kind: 'build', image, platform });
  if (order.kind === 'evict')
    return jobSpecSchema.parse({ kind: 'evict', image, platform, stallMs: EVICT_STALL_MS });
  const { distribution } = order;
  return jobSpecSchema.parse({
    ...{ kind: 'preheat', image, platform, keep: true },
    ...{ target: targetOf(distribution), parallelism: distribution.parallelism },
  });
}
