import { hostname } from 'node:os';
import type { ApiServer, NodeLabels } from '@drakkar/kubernetes';
import { DrakkarError, type PeerId, type RegistryCredential } from '@drakkar/protocol';
import type { Logger } from 'pino';
import type { SupernodeConfig } from '../config.ts';
import type { Around, Job, JobHost, Jobs } from '../jobs/index.ts';
import type { Policies } from '../policies/index.ts';
import type { StateStore } from '../state/index.ts';
import { type Joining, keepJoinSecret } from './join-secret.ts';
import { PoliciesOfKubernetes } from './kept-policies.ts';
import { onNode } from './node-labels.ts';
import { BY, Orders } from './orders.ts';
import { Succession } from './succession.ts';

export interface KubernetesModules {
  readonly state: StateStore;
  readonly jobs: Jobs;
  readonly policies: Policies;
  readonly self: PeerId;
  joining(): Joining;
  /** Those that are connected. */
  hosts(): Iterable<JobHost>;
  readonly log: Logger;
}

type Library = typeof import('@drakkar/kubernetes');

interface Parts {
  readonly api: ApiServer;
  readonly orders: Orders;
  readonly policies: PoliciesOfKubernetes;
}

const COMPONENT = 'drakkar-supernode';
const LEASE = 'drakkar-supernode';
const NO_NODES: NodeLabels = new Map();

/** The Kubernetes cluster that the hosts are nodes of, and what its resources have them do. */
export class Kubernetes implements Around, AsyncDisposable {
  readonly #options: SupernodeConfig['kubernetes'];
  readonly #running = new AsyncDisposableStack();
  #nodes: NodeLabels = NO_NODES;
  #orders: Orders | undefined;
  #policies: PoliciesOfKubernetes | undefined;

  constructor(options: SupernodeConfig['kubernetes']) {
    this.#options = options;
  }

  placed = (host: JobHost): JobHost => (this.#nodes.size === 0 ? host : onNode(host, this.#nodes));

  credentialFor = (job: Job): RegistryCredential | undefined =>
    this.#orders?.credentialFor(job) ?? this.#policies?.credentialFor(job);

  /** Before it is known what was asked for, all of that is. */
  isHeld = (job: Job): boolean =>
    this.#orders?.isHeld(job) ?? (this.#options.enabled && job.createdBy === BY);

  /** @throws `invalid_argument` for a kubeconfig that can’t be used */
  async start(modules: KubernetesModules): Promise<void> {
    const { enabled, namespace } = this.#options;
    if (!enabled) return;
    const { state, self, log } = modules;
    // Most supernodes never need it, and it takes a while to load.
    const kubernetes = await import('@drakkar/kubernetes');
    const api = this.#connect(kubernetes);
    this.#orders = this.#running.use(await Orders.open(modules));
    const orders = this.#orders;
    const policies = new PoliciesOfKubernetes(modules.policies);
    this.#policies = policies;
    const ending = new AbortController();
    const identity = `${hostname()}_${self}`;
    const succession = new Succession(state, identity);
    const failed = (error: unknown) =>
      log.warn({ error }, 'the Kubernetes cluster can’t be led at the moment');
    const election = new kubernetes.LeaderElection(api, {
      ...{ namespace, name: LEASE, identity, failed },
      succeeds: (holder) => succession.succeeds(holder),
      lead: async (signal) => {
        await succession.hold().catch(failed);
        await this.#lead(kubernetes, { api, orders, policies }, modules, signal);
      },
    });
    const running = election.run(ending.signal);
    this.#running.defer(async () => {
      ending.abort();
      await running;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running[Symbol.asyncDispose]();
  }

  #connect({ connectApiServer }: Library): ApiServer {
    const { kubeconfig, context } = this.#options;
    try {
      return connectApiServer({ kubeconfig, context });
    } catch (cause) {
      throw new DrakkarError(
        'invalid_argument',
        'the Kubernetes cluster can’t be reached as it is configured',
        {
          hint: 'see kubernetes.kubeconfig; within a pod it needs a service account',
          cause,
        },
      );
    }
  }

  /** Until it is not to any more. */
  async #lead(
    { Events, followNodes, ImageSnapshots, Secrets, SnapshotPolicies, ToldNodes }: Library,
    { api, orders: fleet, policies }: Parts,
    modules: KubernetesModules,
    signal: AbortSignal,
  ): Promise<void> {
    const { log, jobs, hosts, joining } = modules;
    const { namespace, joinSecret, nodeLabels } = this.#options;
    const failed = (error: unknown) =>
      log.warn({ error }, 'what hosts need to come in can’t be told in Kubernetes');
    const joinSecretModules = { api, namespace, joining, failed };
    const events = new Events(api, {
      ...{ component: COMPONENT, instance: hostname() },
      failed: (error) => log.debug({ error }, 'what has happened can’t be told in Kubernetes'),
    });
    await using stack = new AsyncDisposableStack();
    const nodes = followNodes(api, log, (name) => {
      snapshots.nodesChanged();
      told.look(name);
      for (const host of hosts()) if (host.name === name) jobs.came(this.placed(host));
    });
    const secrets = new Secrets(api);
    const told = new ToldNodes({ api, most: nodeLabels, log });
    const snapshots = new ImageSnapshots({ api, fleet, secrets, events, nodes, told, log });
    const kept = new SnapshotPolicies({ api, policies, secrets, log });
    // At once: another supernode may lead by now.
    stack.defer(async () => {
      await Promise.all([kept, snapshots, told].map((each) => each[Symbol.asyncDispose]()));
    });
    this.#nodes = nodes.objects;
    log.info({}, 'this supernode brings about what is written in the Kubernetes cluster');
    snapshots.start();
    kept.start();
    const telling =
      joinSecret === null ? undefined : keepJoinSecret({ ...joinSecretModules, name: joinSecret }, signal);
    await nodes.run(signal);
    await telling;
  }
}
