import { type ApiServer, isNotFound, pathOf, WorkQueue } from '../cluster/index.ts';
import type { SnapshotPolicySpec } from '../resources/index.ts';
import type { ControllerLog, KeptPolicies } from './contract.ts';
import { PodImages, type Workload } from './pod-images.ts';
import { type SecretName, type Secrets, secretsIn } from './secrets.ts';

export interface FromPodsModules {
  readonly api: ApiServer;
  readonly policies: Pick<KeptPolicies, 'want'>;
  readonly secrets: Secrets;
  readonly log: ControllerLog;
}

interface Followed {
  readonly generation: string;
  readonly spec: SnapshotPolicySpec;
}

const AT_ONCE = 4;

/** Has images of what is about to be started be snapshotted, as policies say that are for it. */
export class FromPods implements AsyncDisposable {
  readonly #modules: FromPodsModules;
  readonly #pods: PodImages;
  readonly #policies = new Map<string, Followed>();
  /** Of a policy and a workload. */
  readonly #queue: WorkQueue;

  constructor(modules: FromPodsModules) {
    const { api, log } = modules;
    this.#modules = modules;
    this.#queue = new WorkQueue({
      atOnce: AT_ONCE,
      work: (key, signal) => this.#want(key, signal),
      failed: (key, error) => log.warn({ key, error }, 'images of a workload are to be looked at again'),
    });
    this.#pods = new PodImages({
      ...{ api, log },
      changed: (workload) => {
        for (const policy of this.#policies.keys()) this.#look(policy, workload);
      },
      relabelled: (namespace) => this.#relabelled(namespace),
    });
  }

  /** A policy is in force: for each of its generations all that there is is looked at, once. */
  follow(policy: string, generation: string, spec: SnapshotPolicySpec): void {
    if (this.#policies.get(policy)?.generation === generation) return;
    this.#policies.set(policy, { generation, spec });
    for (const workload of this.#pods.keys()) this.#look(policy, workload);
  }

  forget(policy: string): void {
    this.#policies.delete(policy);
  }

  /** Goes on until it is told not to; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#pods.run(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue[Symbol.asyncDispose]();
  }

  #look(policy: string, workload: string): void {
    this.#queue.add(`${policy} ${workload}`);
  }

  #relabelled(namespace: string): void {
    for (const [policy, { spec }] of this.#policies) {
      if (spec.fromPods?.namespaceSelector === undefined) continue;
      for (const key of this.#pods.keys())
        if (this.#pods.get(key)?.namespace === namespace) this.#look(policy, key);
    }
  }

  async #want(key: string, signal: AbortSignal): Promise<undefined> {
    const space = key.indexOf(' ');
    const policy = key.slice(0, space);
    const spec = this.#policies.get(policy)?.spec;
    const workload = this.#pods.get(key.slice(space + 1));
    if (spec === undefined || workload === undefined || !this.#isFor(spec, workload.namespace)) return;
    const names = [...(spec.pullSecrets ?? []), ...(await this.#secretsOf(spec, workload, signal))];
    const pull = await this.#modules.secrets.read(names, signal);
    await this.#modules.policies.want(policy, workload.images, pull);
  }

  #isFor({ fromPods }: SnapshotPolicySpec, namespace: string): boolean {
    if (fromPods?.namespaces !== undefined) return fromPods.namespaces.includes(namespace);
    const labels = this.#pods.labelsOf(namespace);
    return Object.entries(fromPods?.namespaceSelector ?? {}).every(([name, value]) => labels[name] === value);
  }

  /** Those of the pod and of its service account, where the policy says that they may be used. */
  async #secretsOf(
    { fromPods }: SnapshotPolicySpec,
    { namespace, pullSecrets, serviceAccount }: Workload,
    signal: AbortSignal,
  ): Promise<readonly SecretName[]> {
    if (fromPods?.serviceAccountPullSecrets !== true) return [];
    const path = pathOf`/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}`;
    try {
      const account = await this.#modules.api.request<{ imagePullSecrets?: { name?: string }[] }>(
        'GET',
        path,
        { signal },
      );
      return [...pullSecrets, ...secretsIn(namespace, account.imagePullSecrets)];
    } catch (error) {
      if (isNotFound(error)) return pullSecrets;
      throw error;
    }
  }
}
