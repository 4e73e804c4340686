import { isDeepStrictEqual } from 'node:util';
import { isDrakkarError, toDrakkarError } from '@drakkar/protocol';
import {
  type ApiServer,
  applyTo,
  type ClusterObject,
  isSameWish,
  Reflector,
  WorkQueue,
} from '../cluster/index.ts';
import {
  API_VERSION,
  durationMs,
  GROUP,
  SNAPSHOT_POLICY,
  type SnapshotPolicySpec,
  type SnapshotPolicyStatus,
  snapshotPolicySpecSchema,
} from '../resources/index.ts';
import { conditionsOf, type Said } from './conditions.ts';
import type { ControllerLog, KeptPolicies, PolicyRules } from './contract.ts';
import { FromPods } from './from-pods.ts';
import type { Secrets } from './secrets.ts';
import { whyInvalid } from './why-invalid.ts';

export interface SnapshotPoliciesModules {
  readonly api: ApiServer;
  readonly policies: KeptPolicies;
  readonly secrets: Secrets;
  readonly log: ControllerLog;
}

interface SnapshotPolicy extends ClusterObject {
  readonly spec?: unknown;
  readonly status?: SnapshotPolicyStatus;
}

/** So long as it is there, what it says is in force. */
const FINALIZER = `${GROUP}/policy`;
const PATH = `/apis/${API_VERSION}/${SNAPSHOT_POLICY.plural}` as const;
const APPLIED = {
  ...{ path: PATH, apiVersion: API_VERSION, kind: SNAPSHOT_POLICY.kind },
  fieldManager: 'drakkar-supernode',
};
const AT_ONCE = 4;
/** What many workloads say in a row is one look. */
const SOON_MS = 1_000;
/** How often it is looked at though nothing has happened: for its figures, and whether what it says is still so. */
const AGAIN_MS = 30_000;
/** Figures are counted among all images that were seen: where there are many policies, one is counted that often, at most. */
const AGAIN_MS_EACH = 1_000;

/** Has what SnapshotPolicies say be in force, and what pods are about to start be snapshotted where one says so. */
export class SnapshotPolicies implements AsyncDisposable {
  readonly #modules: SnapshotPoliciesModules;
  readonly #objects: Reflector<SnapshotPolicy>;
  readonly #queue: WorkQueue;
  readonly #fromPods: FromPods;
  readonly #ending = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(modules: SnapshotPoliciesModules) {
    const { api, log } = modules;
    this.#modules = modules;
    this.#objects = new Reflector<SnapshotPolicy>(api, {
      path: PATH,
      keep: (object) => object,
      changed: (now, before, name) => this.#changed(now, before, name),
      failed: (error) => log.warn({ error }, 'SnapshotPolicies can’t be followed at the moment'),
    });
    void this.#objects.filled
      .then(() => modules.policies.retain(this.#objects.objects.keys()))
      .catch((error) => log.warn({ error }, 'policies of SnapshotPolicies that are gone are still in force'));
    this.#queue = new WorkQueue({
      atOnce: AT_ONCE,
      work: (name, signal) => this.#reconcile(name, signal),
      failed: (name, error, failures) =>
        log.warn({ snapshotPolicy: name, error, failures }, 'a SnapshotPolicy is to be looked at again'),
    });
    this.#fromPods = new FromPods({ ...modules, changed: (name) => this.#queue.addIn(name, SOON_MS) });
  }

  start(): void {
    this.#running = this.#objects.run(this.#ending.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.all([this.#queue, this.#fromPods].map((each) => each[Symbol.asyncDispose]()));
    await this.#running;
  }

  #changed(now: SnapshotPolicy | undefined, before: SnapshotPolicy | undefined, name: string): void {
    if (!isSameWish(now, before)) this.#queue.add(name);
  }

  /** @returns after how many milliseconds it is to be looked at again */
  async #reconcile(name: string, signal: AbortSignal): Promise<number | undefined> {
    const { api, policies } = this.#modules;
    const object = this.#objects.objects.get(name);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      this.#fromPods.forget(name);
      await policies.remove(name);
      if (object !== undefined) await applyTo(api, APPLIED, object, { metadata: {} }, signal);
      return undefined;
    }
    const { finalizers = [] } = object.metadata;
    if (!finalizers.includes(FINALIZER))
      await applyTo(api, APPLIED, object, { metadata: { finalizers: [FINALIZER] } }, signal);
    const kept = await this.#keep(name, object, signal);
    const said = { ...kept, ...(kept.status === 'True' ? this.#fromPods.saidOf(name) : {}) };
    const figures = kept.status === 'True' ? await policies.figuresOf(name) : { images: 0, pending: 0 };
    await this.#say(object, said, figures, signal);
    return Math.max(AGAIN_MS, this.#objects.objects.size * AGAIN_MS_EACH);
  }

  /** @returns how it stands */
  async #keep(name: string, { metadata, spec: raw }: SnapshotPolicy, signal: AbortSignal): Promise<Said> {
    const spec = snapshotPolicySpecSchema.safeParse(raw);
    const said = spec.success
      ? await this.#bringInForce(name, spec.data, signal)
      : refusal('InvalidSpec', whyInvalid(spec.error, raw));
    signal.throwIfAborted();
    if (said.status === 'True' && spec.data?.fromPods !== undefined)
      this.#fromPods.follow(name, `${metadata.uid} ${metadata.generation}`, spec.data);
    else this.#fromPods.forget(name);
    return said;
  }

  async #bringInForce(name: string, spec: SnapshotPolicySpec, signal: AbortSignal): Promise<Said> {
    const { policies, secrets } = this.#modules;
    const pull = await secrets.read(spec.pullSecrets ?? [], signal);
    signal.throwIfAborted();
    try {
      await policies.keep(name, rulesOf(spec), pull);
    } catch (error) {
      if (!isDrakkarError(error) || error.code === 'unavailable') throw error;
      const reason = error.code === 'limit_exceeded' ? 'TooMany' : 'InvalidSpec';
      return refusal(reason, toDrakkarError(error).message);
    }
    if (spec.suspend) return refusal('Suspended', 'it is suspended');
    if (pull.problem !== undefined) return refusal(pull.problem.reason, pull.problem.message);
    return { type: 'Ready', status: 'True', reason: 'InForce', message: 'what it says is done' };
  }

  async #say(
    object: SnapshotPolicy,
    said: Said,
    figures: { readonly images: number; readonly pending: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { generation = 0 } = object.metadata;
    const before = object.status ?? {};
    const conditions = conditionsOf(before.conditions ?? [], [said], generation, new Date().toISOString());
    const status = { observedGeneration: generation, conditions, ...figures };
    if (!isDeepStrictEqual(before, status))
      await applyTo(this.#modules.api, APPLIED, object, { status }, signal);
  }
}

const refusal = (reason: string, message: string): Said => ({
  ...{ type: 'Ready', status: 'False', reason, message },
});

function rulesOf(spec: SnapshotPolicySpec): PolicyRules {
  const { images, triggers, minSizeBytes, atOnce, refresh, retention, distribution, suspend } = spec;
  return {
    ...{ isOn: !suspend, images, minSizeBytes, atOnce, distribution },
    ...{ onPush: triggers.push, onFirstPull: triggers.firstPull },
    refreshMs: refresh === undefined ? null : durationMs(refresh.interval),
    keepMs: retention === undefined ? null : durationMs(retention.unused),
  };
}
