import {
  DrakkarError,
  digestOf,
  formatReference,
  hexOf,
  type PeerId,
  parseReference,
} from '@drakkar/protocol';
import type { Logger } from 'pino';
import { newId } from '../ids.ts';
import { isEnded, type Job, type JobSpec, type Jobs, jobSpecSchema, type RawJobSpec } from '../jobs/index.ts';
import { Collection, type StateStore, type Stored } from '../state/index.ts';
import { type Glob, matches, parseGlob } from './glob.ts';
import { type Policy, type PolicyRequest, policySchema, type SeenImage, seenSchema } from './schema.ts';

/** An image that was pushed. */
export interface PushedImage {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | null;
  readonly digest: string | null;
}

export interface PoliciesModules {
  readonly state: StateStore;
  readonly jobs: Jobs;
  /** Snapshots that nobody has started for so long are forgotten. @returns how many were */
  forgetUnused(matches: (registry: string, repository: string) => boolean, unusedMs: number): number;
  nowMs(): number;
  readonly log: Logger;
}

interface Known {
  readonly policy: Policy;
  readonly globs: readonly Glob[];
}

/** What waits for its turn, of all policies. */
interface Waiting {
  readonly policy: string;
  readonly key: string;
  readonly spec: JobSpec;
}

const MAX_POLICIES = 500;
const MAX_WAITING = 10_000;
const TICK_MS = 500;
const RETENTION_MS = 60 * 60_000;
const REFRESH_LOOK_MS = 30_000;
/** An image that nobody has spoken of for so long is not looked at again. */
const SEEN_TTL_MS = 30 * 24 * 60 * 60_000;
const MAX_MATCHES = 500;

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

/** Has done for images what their policies say: when they are pushed or first pulled, again and again, and when nobody uses them any more. */
export class Policies implements Disposable {
  readonly #modules: PoliciesModules;
  readonly #policies: Collection<Policy>;
  readonly #seen: Collection<SeenImage>;
  readonly #known = new Map<string, Known>();
  readonly #waiting = new Map<string, Waiting>();
  /** Jobs that have not ended, by what they are for. */
  readonly #running = new Map<
    string,
    { readonly job: string; readonly policy: string; isResolved: boolean; again: boolean }
  >();
  readonly #listening: Disposable;
  readonly #watching: Disposable;
  readonly #timers: readonly NodeJS.Timeout[];
  #loading: Promise<void> = Promise.resolve();
  #isCreating = false;

  private constructor(modules: PoliciesModules) {
    this.#modules = modules;
    this.#policies = new Collection(modules.state, 'policies', policySchema);
    this.#seen = new Collection(modules.state, 'seen', seenSchema);
    this.#watching = modules.state.watch(this.#policies.prefix, () => {
      this.#loading = this.#loading.then(() => this.#load()).catch(() => {});
    });
    this.#listening = modules.jobs.onChange((job) => this.#changed(job));
    this.#timers = [
      setInterval(() => void this.#createNext(), TICK_MS),
      setInterval(() => void this.#refresh(), REFRESH_LOOK_MS),
      setInterval(() => this.#forgetUnused(), RETENTION_MS),
    ];
  }

  static async open(modules: PoliciesModules): Promise<Policies> {
    const policies = new Policies(modules);
    const begun = new Collection(modules.state, 'settings', policySchema.shape.name);
    if (await begun.add(BEGUN, 'true')) await policies.create(ZERO_TOUCH, 'drakkar');
    await policies.#load();
    return policies;
  }

  list(): Policy[] {
    return [...this.#known.values()]
      .map(({ policy }) => policy)
      .sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** @throws `not_found` */
  get(id: string): Policy {
    const known = this.#known.get(id);
    if (known === undefined)
      throw new DrakkarError('not_found', 'there is no such policy', {
        hint: '`drakkar policy ls` lists them',
      });
    return known.policy;
  }

  /** @throws `already_exists` for a name that another one has */
  async create(request: PolicyRequest, by: string): Promise<Policy> {
    if (this.#known.size >= MAX_POLICIES)
      throw new DrakkarError('limit_exceeded', `there are ${MAX_POLICIES} policies`);
    this.#requireFree(request.name);
    const nowMs = this.#modules.nowMs();
    const policy = { ...request, id: newId(nowMs), createdAtMs: nowMs, createdBy: by, changedAtMs: nowMs };
    await this.#policies.add(policy.id, policy);
    this.#know(policy);
    return policy;
  }

  /** @throws `not_found` | `already_exists` */
  async change(id: string, request: PolicyRequest): Promise<Policy> {
    const { createdAtMs, createdBy } = this.get(id);
    this.#requireFree(request.name, id);
    const policy = { ...request, id, createdAtMs, createdBy, changedAtMs: this.#modules.nowMs() };
    if ((await this.#policies.update(id, () => policy)) === undefined) this.get(id);
    this.#know(policy);
    return policy;
  }

  /** @throws `not_found` */
  async remove(id: string): Promise<void> {
    this.get(id);
    await this.#policies.remove(id);
    this.#known.delete(id);
    for (const [key, { policy }] of this.#waiting) if (policy === id) this.#waiting.delete(key);
  }

  /** Images that were seen and that it would be for, at most 500. */
  async matching(request: Pick<PolicyRequest, 'images'>): Promise<SeenImage[]> {
    const globs = request.images.map(parseGlob);
    const found: SeenImage[] = [];
    for await (const { value } of this.#seen.all()) {
      const { registry, repository, tag = null } = parseReference(value.image);
      if (globs.some((glob) => matches(glob, { registry, repository, tag }))) found.push(value);
      if (found.length >= MAX_MATCHES) break;
    }
    return found;
  }

  /** A registry says so: a hint, of which the host that builds asks the registry itself. @returns how many policies it is for */
  async pushed(image: PushedImage): Promise<number> {
    const { registry, repository, tag, digest } = image;
    const reference = tag === null && digest === null ? undefined : nameOf(image);
    if (reference === undefined) return 0;
    const policies = this.#of({ registry, repository, tag }).filter(({ on }) => on.push);
    if (policies.length > 0 && tag !== null) await this.#saw(reference, null);
    for (const policy of policies) this.#want(policy, reference, undefined, undefined);
    return policies.length;
  }

  /** A host has pulled an image that has no snapshot. */
  firstPull(peer: PeerId, image: string, platform: string | undefined, sizeBytes: number): void {
    const { registry, repository, tag = null } = parseReference(image);
    const policy = this.#of({ registry, repository, tag }).find(
      ({ on, minSizeBytes }) => on.firstPull && sizeBytes >= minSizeBytes,
    );
    if (policy !== undefined) this.#want(policy, image, platform, peer);
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#watching[Symbol.dispose]();
    for (const timer of this.#timers) clearInterval(timer);
  }

  #of(image: {
    readonly registry: string;
    readonly repository: string;
    readonly tag: string | null;
  }): Policy[] {
    return [...this.#known.values()]
      .filter(({ policy, globs }) => policy.enabled && globs.some((glob) => matches(glob, image)))
      .map(({ policy }) => policy);
  }

  /** However often it is asked for, it is done once; where it may mean something else by now, once more. */
  #want(policy: Policy, image: string, platform: string | undefined, near: PeerId | undefined): void {
    const key = `${policy.id} ${image} ${platform ?? ''}`;
    const running = this.#running.get(key);
    if (running !== undefined) {
      if (running.isResolved && parseReference(image).digest === undefined) running.again = true;
      return;
    }
    if (this.#waiting.has(key)) return;
    if (this.#waiting.size >= MAX_WAITING) {
      this.#modules.log.warn({ policy: policy.name, image }, 'too many images wait for their policies');
      return;
    }
    this.#waiting.set(key, { policy: policy.id, key, spec: specOf(policy, image, platform, near) });
    void this.#createNext();
  }

  /** Never rejects: what can't be begun now is tried again. */
  async #createNext(): Promise<void> {
    if (this.#isCreating) return;
    this.#isCreating = true;
    const { jobs, log } = this.#modules;
    try {
      for (const [key, { policy: id, spec }] of [...this.#waiting]) {
        const policy = this.#known.get(id)?.policy;
        const active = [...this.#running.values()].filter((running) => running.policy === id).length;
        if (policy === undefined) this.#waiting.delete(key);
        if (policy === undefined || active >= policy.atOnce) continue;
        const job = await jobs.create(spec, `policy ${policy.name}`);
        this.#waiting.delete(key);
        if (!isEnded(job))
          this.#running.set(key, { job: job.id, policy: id, isResolved: false, again: false });
      }
    } catch (error) {
      log.debug({ error }, 'what policies want waits');
    } finally {
      this.#isCreating = false;
    }
  }

  #changed(job: Job): void {
    for (const [key, running] of this.#running) {
      if (running.job !== job.id) continue;
      running.isResolved ||= job.resolved !== null;
      if (!isEnded(job)) return;
      this.#running.delete(key);
      const waiting = { policy: running.policy, key, spec: job.spec };
      if (running.again) this.#waiting.set(key, waiting);
      void this.#createNext();
      return;
    }
  }

  async #saw(image: string, platform: string | null): Promise<void> {
    const nowMs = this.#modules.nowMs();
    const seen = { image, platform, seenAtMs: nowMs, lookedAtMs: nowMs };
    await this.#modules.state.commit([this.#seen.change(idOf(image), seen, { ttlMs: SEEN_TTL_MS })]);
  }

  /** Looks at tags again whose time has come. */
  async #refresh(): Promise<void> {
    const { nowMs, log } = this.#modules;
    if (![...this.#known.values()].some(({ policy }) => policy.refreshMs !== null)) return;
    try {
      for await (const { id, value } of this.#seen.all()) {
        const { registry, repository, tag = null } = parseReference(value.image);
        const policy = this.#of({ registry, repository, tag }).find(
          ({ refreshMs }) => refreshMs !== null && nowMs() - value.lookedAtMs >= refreshMs,
        );
        if (policy === undefined) continue;
        this.#want(policy, value.image, value.platform ?? undefined, undefined);
        const looked = { ...value, lookedAtMs: nowMs() };
        await this.#modules.state.commit([this.#seen.change(id, looked, { ttlMs: SEEN_TTL_MS })]);
      }
    } catch (error) {
      log.debug({ error }, 'tags are looked at later');
    }
  }

  #forgetUnused(): void {
    for (const { policy, globs } of this.#known.values()) {
      if (!policy.enabled || policy.keepMs === null) continue;
      const isOf = (registry: string, repository: string) =>
        globs.some((glob) => matches(glob, { registry, repository, tag: null }));
      const forgotten = this.#modules.forgetUnused(isOf, policy.keepMs);
      if (forgotten > 0)
        this.#modules.log.info(
          { policy: policy.name, forgotten },
          'snapshots that nobody uses are forgotten',
        );
    }
  }

  async #load(): Promise<void> {
    const all: Stored<Policy>[] = await Array.fromAsync(this.#policies.all());
    this.#known.clear();
    for (const { value } of all) this.#know(value);
  }

  #know(policy: Policy): void {
    this.#known.set(policy.id, { policy, globs: policy.images.map(parseGlob) });
  }

  #requireFree(name: string, id?: string): void {
    const other = this.list().find((policy) => policy.name === name);
    if (other !== undefined && other.id !== id)
      throw new DrakkarError('already_exists', `another policy is called ${name}`);
  }
}

function specOf(
  policy: Policy,
  image: string,
  platform: string | undefined,
  near: PeerId | undefined,
): JobSpec {
  const common = { image, ...(platform === undefined ? {} : { platform }) };
  const raw: RawJobSpec =
    policy.distribute === null
      ? { kind: 'build', ...common, push: policy.push, ...(near === undefined ? {} : { near }) }
      : { kind: 'preheat', ...common, ...policy.distribute };
  return jobSpecSchema.parse(raw);
}

function nameOf({ registry, repository, tag, digest }: PushedImage): string {
  const reference = { registry, repository, tag: tag ?? undefined, digest: undefined };
  const name = formatReference(reference);
  // A tag may mean something else by now; without one the digest is all there is.
  return tag === null && digest !== null ? `${registry}/${repository}@${digest}` : name;
}

/** Names are longer than keys, and hold what keys don't. */
const idOf = (image: string): string => hexOf(digestOf(image));
