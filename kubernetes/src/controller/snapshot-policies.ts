import { isDeepStrictEqual } from 'node:util';
import { isDrakkarError, toDrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import {
  type ApiServer,
  applyTo,
  type ClusterObject,
  isNotFound,
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
import { PodImages, type Workload } from './pod-images.ts';
import type { SecretName, Secrets } from './secrets.ts';

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
/** How often its figures are written. */
const FIGURES_MS = 30_000;

/** Has what SnapshotPolicies say be in force, and what pods are about to start be snapshotted where one says so. */
export class SnapshotPolicies implements AsyncDisposable {
  readonly #modules: SnapshotPoliciesModules;
  readonly #objects: Reflector<SnapshotPolicy>;
  readonly #queue: WorkQueue;
  /** What is to be looked at of what is started, by namespace and images. */
  readonly #pods: PodImages;
  readonly #workloads: WorkQueue;
  readonly #waiting = new Map<string, Workload>();
  /** Specs of those that are in force and are for pods. */
  readonly #forPods = new Map<string, SnapshotPolicySpec>();
  readonly #ending = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(modules: SnapshotPoliciesModules) {
    const { api, log } = modules;
    this.#modules = modules;
    this.#objects = new Reflector<SnapshotPolicy>(api, {
      path: PATH,
      keep: (object) => object,
      changed: (now, before, name) => this.#changed(now, before, name),
      failed: (error) => log.warn({ error }, 'SnapshotPolicies can’t be followed at the moment'),
    });
    this.#queue = new WorkQueue({
      atOnce: AT_ONCE,
      work: (name, signal) => this.#reconcile(name, signal),
      failed: (name, error, failures) =>
        log.warn({ snapshotPolicy: name, error, failures }, 'a SnapshotPolicy is to be looked at again'),
    });
    this.#workloads = new WorkQueue({
      atOnce: AT_ONCE,
      work: (key, signal) => this.#want(key, signal),
      failed: (_, error) => log.warn({ error }, 'images of pods are to be looked at again'),
    });
    this.#pods = new PodImages(api, log, (workload) => this.#look(workload));
  }

  start(): void {
    const { signal } = this.#ending;
    this.#running = Promise.all([this.#objects.run(signal), this.#pods.run(signal)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#queue[Symbol.asyncDispose]();
    await this.#workloads[Symbol.asyncDispose]();
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
      this.#forPods.delete(name);
      await policies.remove(name);
      if (object !== undefined) await applyTo(api, APPLIED, object, { metadata: {} }, signal);
      return undefined;
    }
    const { finalizers = [] } = object.metadata;
    if (!finalizers.includes(FINALIZER))
      await applyTo(api, APPLIED, object, { metadata: { finalizers: [FINALIZER] } }, signal);
    const said = await this.#keep(name, object.spec, signal);
    const figures = said.status === 'True' ? await policies.figuresOf(name) : { images: 0, pending: 0 };
    await this.#say(object, said, figures, signal);
    return FIGURES_MS;
  }

  /** @returns how it stands */
  async #keep(name: string, raw: unknown, signal: AbortSignal): Promise<Said> {
    const { policies, secrets } = this.#modules;
    const type = 'Ready';
    const parsed = snapshotPolicySpecSchema.safeParse(raw);
    this.#forPods.delete(name);
    if (!parsed.success)
      return { type, status: 'False', reason: 'InvalidSpec', message: z.prettifyError(parsed.error) };
    const spec = parsed.data;
    const pull = await secrets.read(spec.pullSecrets ?? [], signal);
    try {
      await policies.keep(name, rulesOf(spec), pull);
    } catch (error) {
      if (!isDrakkarError(error) || error.code === 'unavailable') throw error;
      const reason = error.code === 'limit_exceeded' ? 'TooMany' : 'InvalidSpec';
      return { type, status: 'False', reason, message: toDrakkarError(error).message };
    }
    if (spec.suspend) return { type, status: 'False', reason: 'Suspended', message: 'it is suspended' };
    if (pull.problem !== undefined) return { type, status: 'False', ...pull.problem };
    if (spec.fromPods !== undefined) {
      this.#forPods.set(name, spec);
      for (const workload of this.#pods.all()) this.#look(workload);
    }
    return { type, status: 'True', reason: 'InForce', message: 'what it says is done' };
  }

  #look(workload: Workload): void {
    if (this.#forPods.size === 0) return;
    const key = JSON.stringify(workload);
    this.#waiting.set(key, workload);
    this.#workloads.add(key);
  }

  async #want(key: string, signal: AbortSignal): Promise<undefined> {
    const workload = this.#waiting.get(key);
    if (workload === undefined) return;
    for (const [name, spec] of this.#forPods) {
      if (!this.#isFor(spec, workload.namespace)) continue;
      const names = [...(spec.pullSecrets ?? []), ...(await this.#secretsOf(spec, workload, signal))];
      const pull = await this.#modules.secrets.read(names, signal);
      await this.#modules.policies.want(name, workload.images, pull);
    }
    this.#waiting.delete(key);
  }

  #isFor({ fromPods }: SnapshotPolicySpec, namespace: string): boolean {
    if (fromPods === undefined) return false;
    if (fromPods.namespaces !== undefined) return fromPods.namespaces.includes(namespace);
    const labels = this.#pods.labelsOf(namespace);
    return Object.entries(fromPods.namespaceSelector ?? {}).every(([name, value]) => labels[name] === value);
  }

  /** Those of the pod and of its service account, where the policy says that they may be used. */
  async #secretsOf(
    { fromPods }: SnapshotPolicySpec,
    { namespace, pullSecrets, serviceAccount }: Workload,
    signal: AbortSignal,
  ): Promise<readonly SecretName[]> {
    if (fromPods?.serviceAccountPullSecrets !== true) return [];
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}`;
    try {
      const account = await this.#modules.api.request<{ imagePullSecrets?: { name?: string }[] }>(
        'GET',
        path,
        { signal },
      );
      const more = (account.imagePullSecrets ?? []).flatMap(({ name }) =>
        name ? [{ namespace, name }] : [],
      );
      return [...pullSecrets, ...more];
    } catch (error) {
      if (isNotFound(error)) return pullSecrets;
      throw error;
    }
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

function rulesOf(spec: SnapshotPolicySpec): PolicyRules {
  const { images, triggers, minSizeBytes, atOnce, refresh, retention, distribution, suspend } = spec;
  return {
    ...{ isOn: !suspend, images, minSizeBytes, atOnce, distribution },
    ...{ onPush: triggers.push, onFirstPull: triggers.firstPull },
    refreshMs: refresh === undefined ? null : durationMs(refresh.interval),
    keepMs: retention === undefined ? null : durationMs(retention.unused),
  };
}
