import { DrakkarError, parseReference } from '@drakkar/protocol';
import type { Logger } from 'pino';
import { newId } from '../ids.ts';
import { Collection, type StateStore, type Stored } from '../state/index.ts';
import { type Glob, type GlobImage, matches, parseGlob } from './glob.ts';
import { type Policy, type PolicyRequest, policySchema } from './schema.ts';

export interface KnownPolicy {
  readonly policy: Policy;
  readonly globs: readonly Glob[];
}

export interface KnownModules {
  readonly state: StateStore;
  nowMs(): number;
  readonly log: Logger;
}

const MAX_POLICIES = 500;

/** The policy that a cluster begins with: whatever is pulled has a snapshot the next time. */
const ZERO_TOUCH: PolicyRequest = {
  name: 'zero-touch',
  images: ['**'],
  enabled: true,
  on: { push: false, firstPull: true },
  minSizeBytes: 0,
  atOnce: 2,
  push: false,
  distribute: null,
  refreshMs: null,
  keepMs: null,
};
const BEGUN = 'begun';

/** The policies that there are, whoever made them. */
export class KnownPolicies implements Disposable {
  readonly #documents: Collection<Policy>;
  readonly #byId = new Map<string, KnownPolicy>();
  readonly #nowMs: () => number;
  readonly #watching: Disposable;
  #loading: Promise<void> = Promise.resolve();

  private constructor({ state, nowMs, log }: KnownModules) {
    this.#nowMs = nowMs;
    this.#documents = new Collection(state, 'policies', policySchema, (key, error) =>
      log.error({ key, error }, 'a policy can’t be read, and is left out'),
    );
    this.#watching = state.watch(this.#documents.prefix, () => {
      this.#loading = this.#loading
        .then(() => this.#load())
        .catch((error: unknown) => log.warn({ error }, 'policies that others changed are not known'));
    });
  }

  static async open(modules: KnownModules): Promise<KnownPolicies> {
    const known = new KnownPolicies(modules);
    const begun = new Collection(modules.state, 'settings', policySchema.shape.name);
    if (await begun.add(BEGUN, 'true')) await known.create(ZERO_TOUCH, 'drakkar');
    await known.#load();
    return known;
  }

  all(): KnownPolicy[] {
    return [...this.#byId.values()];
  }

  find(id: string): KnownPolicy | undefined {
    return this.#byId.get(id);
  }

  /** Those that are for it, and are on. */
  of(image: GlobImage): Policy[] {
    return this.all()
      .filter((known) => isFor(known, image))
      .map(({ policy }) => policy);
  }

  list(): Policy[] {
    return [...this.#byId.values()]
      .map(({ policy }) => policy)
      .sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** @throws `not_found` */
  get(id: string): Policy {
    const known = this.#byId.get(id);
    if (known === undefined)
      throw new DrakkarError('not_found', 'there is no such policy', {
        hint: '`drakkar policy ls` lists them',
      });
    return known.policy;
  }

  /** @throws `already_exists` for a name that another one has */
  async create(request: PolicyRequest, by: string): Promise<Policy> {
    if (this.#byId.size >= MAX_POLICIES)
      throw new DrakkarError('limit_exceeded', `there are ${MAX_POLICIES} policies`);
    this.#requireFree(request.name);
    const nowMs = this.#nowMs();
    const policy = { ...request, id: newId(nowMs), createdAtMs: nowMs, createdBy: by, changedAtMs: nowMs };
    await this.#documents.add(policy.id, policy);
    this.#know(policy);
    return policy;
  }

  /** @throws `not_found` | `already_exists` */
  async change(id: string, request: PolicyRequest): Promise<Policy> {
    const { createdAtMs, createdBy } = this.get(id);
    this.#requireFree(request.name, id);
    const policy = { ...request, id, createdAtMs, createdBy, changedAtMs: this.#nowMs() };
    if ((await this.#documents.update(id, () => policy)) === undefined) this.get(id);
    this.#know(policy);
    return policy;
  }

  /** @throws `not_found` */
  async remove(id: string): Promise<void> {
    this.get(id);
    await this.#documents.remove(id);
    this.#byId.delete(id);
  }

  [Symbol.dispose](): void {
    this.#watching[Symbol.dispose]();
  }

  async #load(): Promise<void> {
    const all: Stored<Policy>[] = await Array.fromAsync(this.#documents.all());
    this.#byId.clear();
    for (const { value } of all) this.#know(value);
  }

  #know(policy: Policy): void {
    this.#byId.set(policy.id, { policy, globs: policy.images.map(parseGlob) });
  }

  #requireFree(name: string, id?: string): void {
    const other = this.list().find((policy) => policy.name === name);
    if (other !== undefined && other.id !== id)
      throw new DrakkarError('already_exists', `another policy is called ${name}`);
  }
}

export const isFor = ({ policy, globs }: KnownPolicy, image: GlobImage): boolean =>
  policy.enabled && globs.some((glob) => matches(glob, image));

export function imageOf(reference: string): GlobImage {
  const { registry, repository, tag = null } = parseReference(reference);
  return { registry, repository, tag };
}
