import { type ApiServer, WorkQueue } from '../cluster/index.ts';
import type { SnapshotPolicySpec } from '../resources/index.ts';
import type { ControllerLog, KeptPolicies } from './contract.ts';
import { PodImages, type Workload } from './pod-images.ts';
import type { PullSecrets, SecretProblem, Secrets } from './secrets.ts';
import { ServiceAccounts } from './service-accounts.ts';

export interface FromPodsModules {
  readonly api: ApiServer;
  readonly policies: Pick<KeptPolicies, 'want'>;
  readonly secrets: Secrets;
  readonly log: ControllerLog;
}

interface Followed {
  readonly generation: string;
  readonly spec: SnapshotPolicySpec;
  /** By workloads whose images are asked for without a secret that they name. */
  readonly problems: Map<string, SecretProblem>;
}

const AT_ONCE = 4;
/** Of a secret nobody tells that it can be used now. */
const SECRET_AGAIN_MS = 60_000;

/** Has images of what is about to be started be snapshotted, as policies say that are for it. */
export class FromPods implements AsyncDisposable {
  readonly #modules: FromPodsModules;
  readonly #accounts: ServiceAccounts;
  readonly #pods: PodImages;
  readonly #policies = new Map<string, Followed>();
  /** Of a policy and a workload. */
  readonly #queue: WorkQueue;

  constructor(modules: FromPodsModules) {
    const { api, log } = modules;
    this.#modules = modules;
    this.#accounts = new ServiceAccounts(api);
    this.#queue = new WorkQueue({
      atOnce: AT_ONCE,
      work: (key, signal) => this.#work(key, signal),
      failed: (key, error) => log.warn({ key, error }, 'images of a workload are to be looked at again'),
    });
    this.#pods = new PodImages({
      ...{ api, log },
      changed: (workload) => {
        for (const [policy, { problems }] of this.#policies) {
          problems.delete(workload);
          this.#look(policy, workload);
        }
      },
      relabelled: (namespace) => this.#relabelled(namespace),
    });
  }

  /** A policy is in force: for each of its generations all that there is is looked at, once. */
  follow(policy: string, generation: string, spec: SnapshotPolicySpec): void {
    if (this.#policies.get(policy)?.generation === generation) return;
    this.#policies.set(policy, { generation, spec, problems: new Map() });
    for (const workload of this.#pods.keys()) this.#look(policy, workload);
  }

  forget(policy: string): void {
    this.#policies.delete(policy);
  }

  /** Why not all of what a policy wants can be had. */
  problemOf(policy: string): SecretProblem | undefined {
    const problems = this.#policies.get(policy)?.problems;
    const [first] = problems?.values() ?? [];
    if (problems === undefined || first === undefined) return undefined;
    const message = `images of ${problems.size} workloads are asked for without all of their pull secrets, as ${first.message}`;
    return { reason: first.reason, message };
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

  /** @returns after how many milliseconds it is to be looked at again */
  async #work(key: string, signal: AbortSignal): Promise<number | undefined> {
    const space = key.indexOf(' ');
    const [policy, name] = [key.slice(0, space), key.slice(space + 1)];
    const followed = this.#policies.get(policy);
    const workload = this.#pods.get(name);
    if (followed === undefined) return undefined;
    const { spec, problems } = followed;
    const isFor = workload !== undefined && this.#isFor(spec, workload.namespace);
    const want = { policy, spec, hadProblem: problems.has(name) };
    const problem = isFor ? await this.#want(workload, want, signal) : undefined;
    if (problem === undefined) problems.delete(name);
    else problems.set(name, problem);
    return problem === undefined ? undefined : SECRET_AGAIN_MS;
  }

  /** @returns why a secret can’t be had for its images */
  async #want(
    workload: Workload,
    {
      policy,
      spec,
      hadProblem,
    }: Pick<Followed, 'spec'> & { readonly policy: string; readonly hadProblem: boolean },
    signal: AbortSignal,
  ): Promise<SecretProblem | undefined> {
    const pull = await this.#pullFor(spec, workload, signal);
    if (hadProblem && pull.problem !== undefined) return pull.problem;
    signal.throwIfAborted();
    await this.#modules.policies.want(policy, workload.images, pull, hadProblem);
    return pull.problem;
  }

  #isFor({ fromPods }: SnapshotPolicySpec, namespace: string): boolean {
    if (fromPods?.namespaces !== undefined) return fromPods.namespaces.includes(namespace);
    const labels = this.#pods.labelsOf(namespace);
    return Object.entries(fromPods?.namespaceSelector ?? {}).every(([name, value]) => labels[name] === value);
  }

  /** With those of the pod and of its service account, where the policy says that they may be used. */
  async #pullFor(
    { fromPods, pullSecrets = [] }: SnapshotPolicySpec,
    workload: Workload,
    signal: AbortSignal,
  ): Promise<PullSecrets> {
    const { secrets } = this.#modules;
    if (fromPods?.serviceAccountPullSecrets !== true) return await secrets.read(pullSecrets, signal);
    const account = await this.#accounts.secretsOf(workload.namespace, workload.serviceAccount, signal);
    const names = [...pullSecrets, ...workload.pullSecrets, ...account.secrets];
    return (await secrets.read(names, signal)).lacking(account.problem);
  }
}
