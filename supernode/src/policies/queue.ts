import { setImmediate } from 'node:timers/promises';
import { type ErrorCode, isDrakkarError } from '@drakkar/protocol';
import { currentTraceparent, parseTraceparent, type Tracing, untraced } from '@drakkar/service';
import type { Logger } from 'pino';
import { ZodError } from 'zod';
import { isEnded, type Job, type Jobs } from '../jobs/index.ts';
import type { Page, StateStore } from '../state/index.ts';
import { imageOf, isFor, type KnownPolicies, type KnownPolicy } from './known.ts';
import { isLayersAlone, nextSpec, onceMore } from './plan.ts';
import { Running } from './running.ts';
import type { Policy, Wanted } from './schema.ts';
import type { Notes } from './seen.ts';
import { idOf, type Want, Wants } from './wants.ts';

export interface QueueModules {
  readonly state: StateStore;
  readonly jobs: Pick<Jobs, 'create' | 'get' | 'page' | 'onChange'>;
  readonly known: KnownPolicies;
  nowMs(): number;
  readonly log: Logger;
  readonly tracing: Tracing;
}

const TICK_MS = 500;
/** Layers have no snapshot that would say that they are there. */
const LAYERS_AGAIN_MS = 24 * 60 * 60_000;
const MAX_LAYERS = 10_000;
const JOBS_PAGE = 500;
/** Its job was removed by somebody, there can be none, or there was one for what the policy said before. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set(['not_found', 'invalid_argument', 'already_exists']);

/** Begins what policies want, each thing once, and at most so many of a policy at the same time. */
export class PolicyQueue implements Disposable {
  readonly #modules: QueueModules;
  readonly #known: KnownPolicies;
  readonly #wants: Wants;
  readonly #running = new Running();
  /** When hosts were last given the layers of what was wanted. */
  readonly #layersAtMs = new Map<string, number>();
  readonly #listening: Disposable;
  #timer: NodeJS.Timeout | undefined;
  #isBeginning = false;
  #isDisposed = false;

  private constructor(modules: QueueModules, wants: Wants) {
    this.#modules = modules;
    this.#known = modules.known;
    this.#wants = wants;
    this.#listening = modules.jobs.onChange((job) => this.#changed(job));
  }

  /** Goes on with what waited. */
  static async open(modules: QueueModules): Promise<PolicyQueue> {
    const queue = new PolicyQueue(modules, await Wants.open(modules.state, modules.log));
    await queue.#findRunning();
    queue.#timer = setInterval(() => queue.#beginSoon(), TICK_MS);
    queue.#beginSoon();
    return queue;
  }

  /** Kept when it returns. @throws 429 while too many wait */
  async want(wants: readonly Want[], notes: Notes): Promise<void> {
    const nowMs = this.#modules.nowMs();
    const changes = new Map<string, Wanted>();
    for (const want of wants) {
      const id = idOf(want);
      const waiting = this.#wants.get(id);
      const once = onceMore(want.image, this.#known.get(want.policy), waiting, this.#running.of(id));
      if (once === 'begin') changes.set(id, this.#wants.begin(want, nowMs));
      else if (once === 'again' && waiting?.isAgain === false) {
        const traceparent = currentTraceparent() ?? '';
        changes.set(id, { ...waiting, isAgain: true, traceparent });
      }
    }
    if (changes.size > 0 || notes.changes.length > 0) await this.#wants.change(changes, notes.changes);
    notes.done();
    if (changes.size > 0) this.#beginSoon();
  }

  /** Of a policy: what waits, and what is being done. */
  pendingOf(policy: string): number {
    const waiting = this.#wants.entries().flatMap(([id, each]) => (each.policy === policy ? [id] : []));
    return new Set([...waiting, ...this.#running.wantsOf(policy)]).size;
  }

  /** Nothing more is done for a policy. */
  async forget(policy: string): Promise<void> {
    const unwanted = this.#wants.entries().filter(([, wanted]) => wanted.policy === policy);
    await this.#wants.change(new Map(unwanted.map(([id]) => [id, null])));
  }

  /** Whether hosts are given its layers, or were within a day: no snapshot would say that they are there. */
  hasLayers(want: Want): boolean {
    if (!isLayersAlone(this.#known.get(want.policy))) return false;
    const id = idOf(want);
    const atMs = this.#layersAtMs.get(id) ?? Number.NEGATIVE_INFINITY;
    return this.#running.of(id) !== undefined || this.#modules.nowMs() - atMs < LAYERS_AGAIN_MS;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#listening[Symbol.dispose]();
    clearInterval(this.#timer);
  }

  /** What policies have begun before, also what it was not kept of that it was. */
  async #findRunning(): Promise<void> {
    const policies = new Map(this.#known.all().map(({ policy }) => [creatorOf(policy), policy]));
    const begun = new Map<string, Wanted | null>();
    for (let after: string | null | undefined; after !== null; ) {
      const page: Page<Job> = await this.#modules.jobs.page({ after, limit: JOBS_PAGE });
      for (const { value: job } of page.items) {
        const policy = policies.get(job.createdBy);
        const { spec } = job;
        if (policy === undefined || (spec.kind !== 'build' && spec.kind !== 'preheat')) continue;
        const id = idOf({ policy: policy.id, image: spec.image, platform: spec.platform ?? null });
        if (isEnded(job)) this.#noteLayers(id, job);
        else this.#running.add(job, policy.id, id);
        const wanted = this.#wants.get(id);
        const isBegun = wanted?.build === null && wanted.createdAtMs <= job.createdAtMs;
        if (isBegun && !isEnded(job)) begun.set(id, this.#afterBegun(wanted, policy, job));
      }
      after = page.next;
      await setImmediate();
    }
    await this.#wants.change(begun);
  }

  /** What waits belongs to traces of its own, whoever has led to this. */
  #beginSoon(): void {
    void untraced(() => this.#beginNext());
  }

  /** Never rejects: what can't be begun now is tried again. */
  async #beginNext(): Promise<void> {
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    try {
      const counts = this.#running.counts();
      for (const [id, { policy, traceparent }] of this.#wants.entries()) {
        if (this.#isDisposed) return;
        const known = this.#known.find(policy);
        const count = counts.get(policy) ?? 0;
        if (this.#running.of(id) !== undefined || (known && count >= known.policy.atOnce)) continue;
        const trace = parseTraceparent(traceparent);
        await this.#modules.tracing.within(trace, () => this.#begin(id, known));
        if (this.#running.of(id) !== undefined) counts.set(policy, count + 1);
        await setImmediate();
      }
    } catch (error) {
      this.#modules.log.debug({ error }, 'what policies want waits');
    } finally {
      this.#isBeginning = false;
    }
  }

  async #begin(id: string, known: KnownPolicy | undefined): Promise<void> {
    const wanted = this.#wants.get(id);
    if (wanted === undefined) return;
    try {
      const isStill = known !== undefined && isFor(known, imageOf(wanted.image));
      const next = isStill ? await this.#advance(id, wanted, known.policy) : null;
      await this.#wants.change(new Map([[id, next]]));
    } catch (error) {
      const isHopeless = (isDrakkarError(error) && HOPELESS.has(error.code)) || error instanceof ZodError;
      if (!isHopeless) throw error;
      this.#modules.log.warn({ image: wanted.image, error }, 'what a policy wants can’t be begun');
      const isAgain = isDrakkarError(error, 'not_found') && this.#wants.get(id)?.isAgain;
      const next = isAgain ? this.#wants.begin(wanted, this.#modules.nowMs()) : null;
      await this.#wants.change(new Map([[id, next]]));
    }
  }

  /** @returns what is wanted then */
  async #advance(id: string, wanted: Wanted, policy: Policy): Promise<Wanted | null> {
    const { jobs, nowMs } = this.#modules;
    if (wanted.build !== null) {
      const build = await jobs.get(wanted.build);
      if (!isEnded(build)) this.#running.add(build, policy.id, id);
      const { isAgain } = this.#wants.get(id) ?? wanted;
      if (!isEnded(build)) return { ...wanted, isAgain };
      if (isAgain) return this.#wants.begin(wanted, nowMs());
      return build.state === 'succeeded' ? { ...wanted, stage: 'distribute', build: null } : null;
    }
    const spec = nextSpec(policy, wanted);
    if (spec === undefined) return null;
    // The same job, if the supernode ends before it is kept that there is one.
    const request = `policy/${id}/${wanted.createdAtMs}${wanted.stage === 'build' ? '' : '/distribute'}`;
    const job = await jobs.create(spec, creatorOf(policy), request);
    if (!isEnded(job)) this.#running.add(job, policy.id, id);
    return this.#afterBegun(this.#wants.get(id) ?? wanted, policy, job);
  }

  #afterBegun(wanted: Wanted, policy: Policy, { id, spec }: Job): Wanted | null {
    if (spec.kind === 'build' && policy.distribute !== null) return { ...wanted, build: id };
    return wanted.isAgain ? this.#wants.begin(wanted, this.#modules.nowMs()) : null;
  }

  #changed(job: Job): void {
    const ended = this.#running.changed(job);
    if (ended === undefined) return;
    this.#noteLayers(ended.want, job);
    if (this.#wants.size > 0) this.#beginSoon();
  }

  #noteLayers(want: string, { spec, state, endedAtMs }: Job): void {
    if (spec.kind !== 'preheat' || spec.content !== 'layers' || state !== 'succeeded') return;
    const atMs = Math.max(endedAtMs ?? 0, this.#layersAtMs.get(want) ?? 0);
    this.#layersAtMs.delete(want);
    this.#layersAtMs.set(want, atMs);
    const [oldest] = this.#layersAtMs.keys();
    if (this.#layersAtMs.size > MAX_LAYERS && oldest !== undefined) this.#layersAtMs.delete(oldest);
  }
}

/** Who has made the jobs of a policy, as lists say. */
export const creatorOf = ({ name }: Pick<Policy, 'name'>): string => `policy ${name}`;
