import type { Fleet, HostPart, Order, OrderSpec, PullSecrets } from '@drakkar/kubernetes';

const OPEN = { error: null, resolved: null, snapshot: null, bytes: { upstream: 0, peer: 0 } };

/** As if it were that of something called so. */
export const digestNamed = (text: string): string =>
  `sha256:${Buffer.from(text).toString('hex').padEnd(64, '0').slice(0, 64)}`;

interface Asked {
  readonly owner: string;
  readonly name: string;
  readonly spec: OrderSpec;
  order: Order;
}

/** A fleet that does all it is asked at once, and remembers it as long as the test. */
export class MemoryFleet implements Fleet {
  /** Names of hosts. */
  readonly hosts = new Set<string>();
  /** All that was ever asked for. */
  readonly asked: Asked[] = [];
  /** What can't be done, by image. */
  readonly failing = new Map<string, { readonly code: string; readonly message: string }>();
  /** What tags mean that do not mean themselves. */
  readonly means = new Map<string, string>();
  /** What registries may be shown, by owner. */
  readonly lent = new Map<string, PullSecrets>();
  /** Nothing ends. */
  isStuck = false;
  readonly #orders = new Map<string, Asked>();
  readonly #listeners = new Set<(owner: string) => void>();

  owners(): Set<string> {
    return new Set([...this.lent.keys(), ...Iterator.from(this.#orders.values()).map(({ owner }) => owner)]);
  }

  ordersOf(owner: string): ReadonlyMap<string, Order> {
    const mine = [...this.#orders.values()].filter((each) => each.owner === owner);
    return new Map(mine.map(({ name, order }) => [name, order]));
  }

  async begin(owner: string, name: string, spec: OrderSpec): Promise<void> {
    if (this.#orders.has(`${owner} ${name}`)) return;
    const asked: Asked = { owner, name, spec, order: { ...OPEN, state: 'running' } };
    this.#orders.set(`${owner} ${name}`, asked);
    this.asked.push(asked);
    if (!this.isStuck) setImmediate(() => this.#end(asked));
  }

  lend(owner: string, secrets: PullSecrets): void {
    this.lent.set(owner, secrets);
  }

  forget(owner: string): void {
    this.lent.delete(owner);
  }

  async end(owner: string, name: string): Promise<void> {
    this.#orders.delete(`${owner} ${name}`);
  }

  *partsOf(owner: string, name: string): Generator<HostPart> {
    const isDone = this.#orders.get(`${owner} ${name}`)?.order.state === 'keeping';
    for (const host of this.hosts) yield { host, isDone, error: null };
  }

  hostNames(): ReadonlySet<string> {
    return this.hosts;
  }

  isKept(image: string, platform: string, except: string): boolean {
    return [...this.#orders.values()].some(
      ({ owner, spec }) =>
        owner !== except && spec.kind === 'keep' && spec.image === image && spec.platform === platform,
    );
  }

  onChange(listener: (owner: string) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  asks(kind: OrderSpec['kind']): string[] {
    return this.asked.filter(({ spec }) => spec.kind === kind).map(({ spec }) => spec.image);
  }

  /** So many bytes more have been read for all that is asked for. */
  move(bytes: number): void {
    for (const asked of this.#orders.values()) {
      const { upstream, peer } = asked.order.bytes;
      asked.order = { ...asked.order, bytes: { upstream: upstream + bytes, peer } };
      for (const listener of this.#listeners) listener(asked.owner);
    }
  }

  /** What was not wanted to end does. */
  endAll(): void {
    this.isStuck = false;
    for (const asked of this.#orders.values()) if (asked.order.state === 'running') this.#end(asked);
  }

  #end(asked: Asked): void {
    asked.order = { ...asked.order, ...this.#outcomeOf(asked.spec) };
    for (const listener of this.#listeners) listener(asked.owner);
  }

  #outcomeOf({ kind, image }: OrderSpec): Partial<Order> {
    const error = this.failing.get(image);
    if (error !== undefined) return { state: 'failed', error };
    if (kind !== 'build') return { state: kind === 'keep' ? 'keeping' : 'succeeded' };
    const root = digestNamed(this.means.get(image) ?? image);
    return {
      state: 'succeeded',
      resolved: { root, manifest: digestNamed(`manifest of ${root}`) },
      snapshot: { layout: digestNamed(`layout of ${root}`), sizeBytes: 100 },
    };
  }
}
