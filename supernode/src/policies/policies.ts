import { setImmediate } from 'node:timers/promises';
import { formatReference, type PeerId, parseReference } from '@drakkar/protocol';
import type { Logger } from 'pino';
import type { StateStore, Stored } from '../state/index.ts';
import { type Glob, type GlobImage, matches, measure, parseGlob } from './glob.ts';
import { imageOf, KnownPolicies } from './known.ts';
import { PolicyQueue, type QueueModules } from './queue.ts';
import type { Policy, PolicyRequest, SeenImage } from './schema.ts';
import { type Noted, Seen } from './seen.ts';
import { isTooMuch } from './too-much.ts';
import { MAX_WAITING, type Want } from './wants.ts';

/** An image that was pushed. */
export interface PushedImage {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | null;
  readonly digest: string | null;
}

export interface PoliciesModules {
  readonly state: StateStore;
  readonly jobs: QueueModules['jobs'];
  /** Snapshots that nobody has started for so long are forgotten. @returns how many were */
  forgetUnused(matches: (registry: string, repository: string) => boolean, unusedMs: number): number;
  nowMs(): number;
  readonly log: Logger;
  readonly tracing: QueueModules['tracing'];
}

const RETENTION_MS = 60 * 60_000;
const REFRESH_LOOK_MS = 30_000;
const MAX_MATCHES = 500;
/** Of patterns, before others have their turn: a millisecond or two. */
const STEPS_AT_ONCE = 100_000;

/** Has done for images what their policies say: when they are pushed or first pulled, again and again, and when nobody uses them any more. */
export class Policies implements Disposable {
  readonly #modules: PoliciesModules;
  readonly #known: KnownPolicies;
  readonly #queue: PolicyQueue;
  readonly #seen: Seen;
  readonly #timers: readonly NodeJS.Timeout[];
  #isRefreshing = false;
  #isDisposed = false;
  /** First pulls that are being remembered. */
  #pulls = 0;

  private constructor(modules: PoliciesModules, known: KnownPolicies, queue: PolicyQueue, seen: Seen) {
    this.#modules = modules;
    this.#known = known;
    this.#queue = queue;
    this.#seen = seen;
    this.#timers = [
      setInterval(() => void this.#refresh(), REFRESH_LOOK_MS),
      setInterval(() => this.#forgetUnused(), RETENTION_MS),
    ];
  }

  /** Goes on with what waited. */
  static async open(modules: PoliciesModules): Promise<Policies> {
    const known = await KnownPolicies.open(modules);
    const seen = await Seen.open(modules.state, modules.log);
    return new Policies(modules, known, await PolicyQueue.open({ ...modules, known }), seen);
  }

  /** In the order of their names. @param after a name, of a policy that may be gone */
  page({ after = '', limit }: { readonly after?: string | undefined; readonly limit: number }): {
    readonly items: Policy[];
    readonly next: string | null;
  } {
    const left = this.#known.list().filter(({ name }) => name > after);
    const items = left.slice(0, limit);
    return { items, next: left.length > limit ? (items.at(-1)?.name ?? null) : null };
  }

  /** @throws `not_found` */
  get(id: string): Policy {
    return this.#known.get(id);
  }

  named(name: string): Policy | undefined {
    return this.#known.list().find((policy) => policy.name === name);
  }

  /** @throws `already_exists` for a name that another one has; `limit_exceeded` */
  create(request: PolicyRequest, by: string): Promise<Policy> {
    return this.#known.create(request, by);
  }

  /** @throws `not_found` | `already_exists` */
  change(id: string, request: PolicyRequest): Promise<Policy> {
    return this.#known.change(id, request);
  }

  /** @throws `not_found` */
  async remove(id: string): Promise<void> {
    await this.#known.remove(id);
    await this.#queue.forget(id);
  }

  /** Those that are for an image, and are on. */
  of(image: GlobImage): Policy[] {
    return this.#known.of(image);
  }

  /** Images that were seen and that it would be for, at most 500. */
  async matching(request: Pick<PolicyRequest, 'images'>): Promise<SeenImage[]> {
    const globs = request.images.map(parseGlob);
    const found = new Map<string, SeenImage>();
    let steps = 0;
    const fits = (image: GlobImage) => (glob: Glob) => {
      const match = measure(glob, image);
      steps += match.steps;
      return match.isMatch;
    };
    for await (const page of this.#seen.pages()) {
      for (const { value } of page) {
        if (globs.some(fits(imageOf(value.image)))) found.set(value.image, value);
        if (found.size >= MAX_MATCHES) return [...found.values()];
        if (steps < STEPS_AT_ONCE) continue;
        steps = 0;
        await setImmediate();
      }
    }
    return [...found.values()];
  }

  /**
   * A registry says so: a hint, of which the host that builds asks the registry itself. Kept when it returns.
   *
   * @returns how many policies they are for, together
   * @throws 429 while too many wait
   */
  async pushed(images: readonly PushedImage[]): Promise<number> {
    const wants: Want[] = [];
    const noted: Noted[] = [];
    for (const pushed of images) {
      const image = nameOf(pushed);
      if (image === undefined) continue;
      const policies = this.of(pushed).filter(({ on }) => on.push);
      for (const { id } of policies) wants.push({ policy: id, image, platform: null, near: null });
      // Of a digest alone, registries tell for each part of what has a tag.
      if (pushed.tag !== null) noted.push({ image, platform: null, isLooked: policies.length > 0 });
    }
    await this.#queue.want(wants, this.#seen.note(noted, this.#modules.nowMs()));
    return wants.length;
  }

  /**
   * Somebody has images that are about to be started: of a policy that is on, and is for them, each is built once, as if it had been pushed, and once more
   * where the policy is another by then. Kept when it returns.
   *
   * @param isAgain also where that was done
   * @returns those that it is for, by their canonical names
   * @throws 429 while too many wait
   */
  async want(id: string, images: readonly string[], isAgain = false): Promise<string[]> {
    const wanted = images.flatMap((text) => {
      const image = canonical(text);
      return image !== undefined && this.of(imageOf(image)).some((policy) => policy.id === id) ? [image] : [];
    });
    if (wanted.length === 0) return [];
    const { changedAtMs } = this.#known.get(id);
    const begun = wanted.filter((image) => isAgain || !this.#seen.hasStarted(image, id, changedAtMs));
    const wants = begun.map((image) => ({ policy: id, image, platform: null, near: null }));
    const noted = wanted.map((image) => ({
      ...{ image, platform: null },
      ...(begun.includes(image) ? { isLooked: true, startsBy: id } : { isLooked: false }),
    }));
    await this.#queue.want(wants, this.#seen.note(noted, this.#modules.nowMs()));
    return wanted;
  }

  /** How much of it waits, or is being done. */
  pendingOf(id: string): number {
    return this.#queue.pendingOf(id);
  }

  /** A host has pulled an image that has no snapshot: a hint, and one that is not kept is lost. */
  firstPull(peer: PeerId, image: string, platform: string | undefined, sizeBytes: number): void {
    const { log } = this.#modules;
    if (this.#pulls >= MAX_WAITING) {
      log.warn({ image }, 'too many first pulls at once: one is ignored');
      return;
    }
    this.#pulls += 1;
    void this.#firstPulled(peer, image, platform ?? null, sizeBytes)
      .catch((error: unknown) => log.warn({ image, error }, 'a first pull is ignored'))
      .finally(() => {
        this.#pulls -= 1;
      });
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#queue[Symbol.dispose]();
    this.#known[Symbol.dispose]();
  }

  async #firstPulled(peer: PeerId, image: string, platform: string | null, sizeBytes: number): Promise<void> {
    const nowMs = this.#modules.nowMs();
    const policy = this.#known
      .of(imageOf(image))
      .find(({ on, minSizeBytes }) => on.firstPull && sizeBytes >= minSizeBytes);
    const wants = policy === undefined ? [] : [{ policy: policy.id, image, platform, near: peer }];
    const wanted = wants.filter((want) => !this.#queue.hasLayers(want));
    const notes = this.#seen.note([{ image, platform, isLooked: wanted.length > 0 }], nowMs);
    await this.#queue.want(wanted, notes);
  }

  /** Looks at tags again whose time has come. Never rejects: what can't be wanted now is looked at later. */
  async #refresh(): Promise<void> {
    const { nowMs, log } = this.#modules;
    const isAny = this.#known.all().some(({ policy }) => policy.enabled && policy.refreshMs !== null);
    if (this.#isRefreshing || !isAny) return;
    this.#isRefreshing = true;
    try {
      for await (const page of this.#seen.pages()) {
        if (this.#isDisposed) return;
        const due = page.flatMap((stored) => this.#due(stored));
        if (due.length === 0) continue;
        const wants = due.map(({ policy, stored: { value } }) => ({
          ...{ policy: policy.id, near: null },
          ...{ image: value.image, platform: value.platform },
        }));
        const looked = due.map(({ stored }) => stored);
        await this.#queue.want(wants, this.#seen.looked(looked, nowMs()));
      }
    } catch (error) {
      if (isTooMuch(error)) log.debug({ error }, 'tags are looked at later');
      else log.warn({ error }, 'tags are looked at later');
    } finally {
      this.#isRefreshing = false;
    }
  }

  #due(stored: Stored<SeenImage>): { readonly policy: Policy; readonly stored: Stored<SeenImage> }[] {
    const { image, lookedAtMs } = stored.value;
    if (parseReference(image).digest !== undefined) return [];
    const sinceMs = this.#modules.nowMs() - lookedAtMs;
    const policy = this.#known
      .of(imageOf(image))
      .find(({ refreshMs }) => refreshMs !== null && sinceMs >= refreshMs);
    return policy === undefined ? [] : [{ policy, stored }];
  }

  #forgetUnused(): void {
    for (const { policy, globs } of this.#known.all()) {
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
}

/** Nothing for what is no reference. */
function canonical(text: string): string | undefined {
  try {
    return formatReference(parseReference(text));
  } catch {
    return undefined;
  }
}

/** What hosts are told to fetch; nothing where it has no name. */
export function nameOf({ registry, repository, tag, digest }: PushedImage): string | undefined {
  // A tag may mean something else by now; without one the digest is all there is.
  if (tag !== null) return formatReference({ registry, repository, tag, digest: undefined });
  return digest === null ? undefined : `${registry}/${repository}@${digest}`;
}
