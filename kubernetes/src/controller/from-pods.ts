import { type ApiServer, WorkQueue } from '../cluster/index.ts';
import type { SnapshotPolicySpec } from '../resources/index.ts';
import type { Said } from './conditions.ts';
import type { ControllerLog, KeptPolicies } from './contract.ts';
import { PodImages, type Workload } from './pod-images.ts';
import type { PullSecrets, SecretProblem, Secrets } from './secrets.ts';
import { ServiceAccounts } from './service-accounts.ts';

export interface FromPodsModules {
  readonly api: ApiServer;
  readonly policies: Pick<KeptPolicies, 'want'>;
  readonly secrets: Secrets;
  readonly log: ControllerLog;
  /** Something else is to be said of a policy. */
  changed(policy: string): void;
}

interface Followed {
  readonly generation: string;
  readonly spec: SnapshotPolicySpec;
  /** By workloads whose images are asked for without a secret that they name. */
  readonly problems: Map<string, SecretProblem>;
}

interface Wanting {
  readonly policy: string;
  readonly spec: SnapshotPolicySpec;
  readonly workload: Workload;
  readonly hadProblem: boolean;
}

const AT_ONCE = 4;
/** Of a secret nobody tells that it can be used now. */
const SECRET_AGAIN_MS = 60_000;

/** Has images of what is about to be started be snapshotted, as policies say that are for it. */
export class FromPods implements AsyncDisposable {
  readonly #modules: FromPodsModules;
  readonly #accounts: ServiceAccounts;
  /** While there is a policy. */
  #pods: { readonly images: PodImages; readonly ending: AbortController } | undefined;
  #running: Promise<void> = Promise.resolve();
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
  }

  /** A policy is in force: for each of its generations all that there is is looked at, once. */
  follow(policy: string, generation: string, spec: SnapshotPolicySpec): void {
    if (this.#policies.get(policy)?.generation === generation) return;
    this.#policies.set(policy, { generation, spec, problems: new Map() });
    this.#pods ??= this.#begin();
    for (const workload of this.#pods.images.keys()) this.#look(policy, workload);
  }

  forget(policy: string): void {
    this.#policies.delete(policy);
    if (this.#policies.size === 0) this.#end();
  }

  /** What is to be said of a policy instead of that it is in force. */
  saidOf(policy: string): Partial<Said> {
    const problems = this.#policies.get(policy)?.problems;
    if (problems === undefined) return {};
    const forbidden = this.#pods?.images.forbidden ?? [];
    if (forbidden.length > 0) return { status: 'False', ...workloadsForbidden(forbidden) };
    const [first] = problems.values();
    if (first === undefined) return {};
    const message = `images of ${problems.size} workloads are asked for without all of their pull secrets, as ${first.message}`;
    return { reason: first.reason, message };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#policies.clear();
    this.#end();
    await Promise.all([this.#queue[Symbol.asyncDispose](), this.#running]);
  }

  #begin(): { readonly images: PodImages; readonly ending: AbortController } {
    const { api, log, changed } = this.#modules;
    const images = new PodImages({
      ...{ api, log },
      changed: (workload) => {
        for (const [policy, { problems }] of this.#policies) {
          problems.delete(workload);
          this.#look(policy, workload);
        }
      },
      relabelled: (namespace) => this.#relabelled(namespace),
      permitted: () => {
        for (const policy of this.#policies.keys()) changed(policy);
      },
    });
    const ending = new AbortController();
    this.#running = this.#running.then(() => images.run(ending.signal));
    return { images, ending };
  }

  #end(): void {
    this.#pods?.ending.abort();
    this.#pods = undefined;
  }

  #look(policy: string, workload: string): void {
    this.#queue.add(`${policy} ${workload}`);
  }

  #relabelled(namespace: string): void {
    for (const [policy, { spec }] of this.#policies) {
      if (spec.fromPods?.namespaceSelector === undefined) continue;
      for (const key of this.#pods?.images.keys() ?? [])
        if (this.#pods?.images.get(key)?.namespace === namespace) this.#look(policy, key);
    }
  }

  /** @returns after how many milliseconds it is to be looked at again */
  async #work(key: string, signal: AbortSignal): Promise<number | undefined> {
    const space = key.indexOf(' ');
    const [policy, name] = [key.slice(0, space), key.slice(space + 1)];
    const followed = this.#policies.get(policy);
    const workload = this.#pods?.images.get(name);
    if (followed === undefined) return undefined;
    const { spec, problems } = followed;
    const isFor = workload !== undefined && this.#isFor(spec, workload.namespace);
    const hadProblem = problems.has(name);
    const problem = isFor ? await this.#want({ policy, spec, workload, hadProblem }, signal) : undefined;
    const hadSome = problems.size > 0;
    if (problem === undefined) problems.delete(name);
    else problems.set(name, problem);
    if (hadSome !== problems.size > 0) this.#modules.changed(policy);
    return problem === undefined ? undefined : SECRET_AGAIN_MS;
  }

  /** @returns why a secret can’t be had for its images */
  async #want(
    { policy, spec, workload, hadProblem }: Wanting,
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
    const labels = this.#pods?.images.labelsOf(namespace) ?? {};
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

const workloadsForbidden = (which: readonly string[]): Pick<Said, 'reason' | 'message'> => ({
  reason: 'WorkloadsForbidden',
  message: `${which.join(' and ')} may not be followed; bind the ClusterRole drakkar-from-pods to this supernode`,
});
