import { join } from 'node:path';
import { type ControlPlane, MemoryFleet, startControlPlane } from '@drakkar/lab';
import type { DrakkarError } from '@drakkar/protocol';
import { expect } from 'vitest';
import {
  type ApiServer,
  type ClusterObject,
  connectApiServer,
  Events,
  isNotFound,
} from '../src/cluster/index.ts';
import type { Fleet, KeptPolicies, PolicyFigures, PolicyRules } from '../src/controller/contract.ts';
import { ImageSnapshots } from '../src/controller/image-snapshots.ts';
import { followNodes } from '../src/controller/nodes.ts';
import { type PullSecrets, Secrets } from '../src/controller/secrets.ts';
import { SnapshotPolicies } from '../src/controller/snapshot-policies.ts';
import { ToldNodes } from '../src/controller/told-nodes.ts';
import {
  API_VERSION,
  type Condition,
  GROUP,
  IMAGE_SNAPSHOT,
  type ImageSnapshotStatus,
  KINDS,
  SNAPSHOT_POLICY,
  type SnapshotPolicyStatus,
} from '../src/index.ts';

export const SOON = { timeout: 30_000, interval: 50 };

const DEFINITIONS = join(import.meta.dirname, '../../deploy/kubernetes/crds');
const APPLY = 'application/apply-patch+yaml';

/** A control plane that knows our resources. */
export async function startOurPlane(): Promise<ControlPlane> {
  const plane = await startControlPlane();
  await plane.kubectl(['apply', '--kustomize', DEFINITIONS]);
  const names = KINDS.map(({ plural }) => `crd/${plural}.${GROUP}`);
  await plane.kubectl(['wait', '--for=condition=Established', ...names]);
  return plane;
}

/** Resources of one of our kinds, as somebody has them who writes them. */
export class Resources<
  Status extends { conditions?: Condition[] | undefined; observedGeneration?: number | undefined },
> {
  readonly path: string;
  readonly #api: ApiServer;
  readonly #kind: string;

  constructor(api: ApiServer, { kind, plural }: { readonly kind: string; readonly plural: string }) {
    this.#api = api;
    this.#kind = kind;
    this.path = `/apis/${API_VERSION}/${plural}`;
  }

  async apply(name: string, spec: object): Promise<void> {
    const body = { apiVersion: API_VERSION, kind: this.#kind, metadata: { name }, spec };
    const query = { fieldManager: 'user', force: true };
    await this.#api.request('PATCH', `${this.path}/${name}`, { body, query, contentType: APPLY });
  }

  read(name: string): Promise<ClusterObject & { readonly status?: Status }> {
    return this.#api.request('GET', `${this.path}/${name}`);
  }

  async statusOf(name: string): Promise<Status | undefined> {
    return (await this.read(name)).status;
  }

  async condition(name: string, type: string): Promise<Condition | undefined> {
    return (await this.statusOf(name))?.conditions?.find((each) => each.type === type);
  }

  /** Whether what it says now has been brought about. */
  async isReady(name: string): Promise<string | undefined> {
    const { status, metadata } = await this.read(name);
    if (status?.observedGeneration !== metadata.generation) return 'not looked at';
    return status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  }

  async untilReady(...names: readonly string[]): Promise<void> {
    for (const name of names)
      await expect.poll(() => this.isReady(name), { ...SOON, timeout: 90_000 }).toBe('True');
  }

  async remove(name: string): Promise<void> {
    await this.#api.request('DELETE', `${this.path}/${name}`);
  }

  async untilGone(...names: readonly string[]): Promise<void> {
    const isThere = (name: string) =>
      this.read(name).then(
        () => true,
        (error: unknown) => !isNotFound(error),
      );
    for (const name of names)
      await expect.poll(() => isThere(name), { ...SOON, timeout: 90_000 }).toBe(false);
  }
}

export const imageSnapshotsOf = (api: ApiServer) => new Resources<ImageSnapshotStatus>(api, IMAGE_SNAPSHOT);
export const snapshotPoliciesOf = (api: ApiServer) =>
  new Resources<SnapshotPolicyStatus>(api, SNAPSHOT_POLICY);

/** Policies in memory, with all that was ever wanted of them. */
export class MemoryPolicies implements KeptPolicies {
  readonly kept = new Map<string, PolicyRules>();
  readonly wanted: { readonly name: string; readonly image: string; readonly secrets: PullSecrets }[] = [];
  refusal: DrakkarError | undefined;
  /** How often each was said to be in force. */
  readonly #times = new Map<string, number>();

  timesOf(name: string): number {
    return this.#times.get(name) ?? 0;
  }

  async keep(name: string, rules: PolicyRules): Promise<void> {
    this.#times.set(name, this.timesOf(name) + 1);
    if (this.refusal !== undefined) throw this.refusal;
    this.kept.set(name, rules);
  }

  async remove(name: string): Promise<void> {
    this.kept.delete(name);
  }

  async retain(names: Iterable<string>): Promise<void> {
    for (const name of new Set(this.kept.keys()).difference(new Set(names))) this.kept.delete(name);
  }

  async figuresOf(): Promise<PolicyFigures> {
    return { images: 3, pending: 1 };
  }

  async want(name: string, images: readonly string[], secrets: PullSecrets): Promise<void> {
    for (const image of images) this.wanted.push({ name, image, secrets });
  }

  imagesOf(name: string): string[] {
    return this.wanted.flatMap((each) => (each.name === name ? [each.image] : [])).sort();
  }
}

const LOG = { info: () => {}, warn: () => {} };

/** All controllers, as a supernode that leads has them. */
export function startControllers(
  api: ApiServer,
  fleet: Fleet,
  policies: KeptPolicies = new MemoryPolicies(),
): AsyncDisposable {
  const stack = new AsyncDisposableStack();
  const ending = new AbortController();
  const events = new Events(api, { component: 'drakkar-test', instance: 'here', failed: () => {} });
  const nodes = followNodes(api, LOG, () => snapshots.nodesChanged());
  const secrets = new Secrets(api);
  const told = stack.use(new ToldNodes({ api, most: 2, log: LOG }));
  const snapshots = stack.use(new ImageSnapshots({ api, fleet, secrets, events, nodes, told, log: LOG }));
  const kept = stack.use(new SnapshotPolicies({ api, policies, secrets, log: LOG }));
  snapshots.start();
  kept.start();
  const following = nodes.run(ending.signal);
  stack.defer(async () => {
    ending.abort();
    await following;
  });
  return stack;
}

/** One that has these hosts, and does all that it is asked. */
export function fleetOf(...hosts: readonly string[]): MemoryFleet {
  const fleet = new MemoryFleet();
  for (const host of hosts) fleet.hosts.add(host);
  return fleet;
}

export const connect = (kubeconfig: string): ApiServer => connectApiServer({ kubeconfig, context: null });
