import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlPlane } from './control-plane.ts';
import type { PodSpec } from './pod-spec.ts';

export interface NodeOptions {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface ClusterPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
  };
  readonly spec: PodSpec;
  readonly status: { readonly phase?: string };
}

/** What stands in for kubelets does instead of running containers. */
export interface PodEvents {
  /** Returns when the pod may be said to run. */
  started?(pod: ClusterPod): Promise<void>;
  /** Returns when it is gone. */
  stopped?(pod: ClusterPod): Promise<void>;
}

export interface Nodes extends AsyncDisposable {
  add(node: NodeOptions): Promise<void>;
  /** It has left the cluster. */
  remove(name: string): Promise<void>;
  /** Why a pod could not be started, or the API server not be asked. */
  readonly errors: readonly unknown[];
}

const POLL_MS = 200;
const HEARTBEAT_MS = 5_000;
const MERGE = 'application/strategic-merge-patch+json';

/** Nodes whose kubelets are stand-ins: they are there, ready, and say of their pods that these run. */
export async function startNodes(
  { ask }: Pick<ControlPlane, 'ask'>,
  nodes: readonly NodeOptions[],
  events: PodEvents = {},
): Promise<Nodes> {
  const names = new Set<string>();
  const [started, ended] = [new Set<string>(), new Set<string>()];
  const under = new Set<Promise<void>>();
  const errors: unknown[] = [];
  const ending = new AbortController();
  const { signal } = ending;

  const say = async (name: string) => {
    const now = new Date().toISOString();
    const condition = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: now };
    const resources = { cpu: '4', memory: '8Gi', pods: '110' };
    const status = { conditions: [condition], capacity: resources, allocatable: resources };
    await must(ask('PATCH', `/api/v1/nodes/${name}/status`, { status }, MERGE), 200);
  };
  const add = async ({ name, labels = {} }: NodeOptions) => {
    const known = {
      'kubernetes.io/hostname': name,
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': 'amd64',
    };
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { ...known, ...labels } } };
    await must(ask('POST', '/api/v1/nodes', node), 201);
    // Until a controller says otherwise nothing is placed on a new one.
    const untainted = [{ op: 'replace', path: '/spec', value: {} }];
    await must(ask('PATCH', `/api/v1/nodes/${name}`, untainted, 'application/json-patch+json'), 200);
    await say(name);
    names.add(name);
  };
  const run = async (pod: ClusterPod) => {
    await events.started?.(pod);
    const startedAt = new Date().toISOString();
    const containerStatuses = pod.spec.containers.map(({ name, image }) => ({
      ...{ name, image, imageID: image, ready: true, started: true, restartCount: 0 },
      state: { running: { startedAt } },
    }));
    const conditions = ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
      ...{ type, status: 'True', lastTransitionTime: startedAt },
    }));
    const status = { phase: 'Running', startTime: startedAt, containerStatuses, conditions };
    const answer = await ask('PATCH', `${pathOf(pod)}/status`, { status }, MERGE);
    if (answer.status !== 404) await must(Promise.resolve(answer), 200);
  };
  const end = async (pod: ClusterPod, wasStarted: boolean) => {
    if (wasStarted) await events.stopped?.(pod);
    await ask('DELETE', pathOf(pod), { gracePeriodSeconds: 0 });
    ended.delete(pod.metadata.uid);
  };
  /** One pod waits for no other. */
  const begin = (what: Promise<void>) => {
    const going = what.catch((error: unknown) => void errors.push(error)).finally(() => under.delete(going));
    under.add(going);
  };
  const look = async () => {
    const { status, body } = await ask('GET', '/api/v1/pods');
    if (status !== 200) return;
    for (const pod of (body as { items: ClusterPod[] }).items) {
      const { uid, deletionTimestamp } = pod.metadata;
      if (!names.has(pod.spec.nodeName ?? '')) continue;
      if (deletionTimestamp === undefined && !started.has(uid)) {
        started.add(uid);
        begin(run(pod));
      }
      if (deletionTimestamp !== undefined && !ended.has(uid)) {
        ended.add(uid);
        begin(end(pod, started.delete(uid)));
      }
    }
  };
  const repeat = async (everyMs: number, what: () => Promise<void>) => {
    while (!signal.aborted) {
      await what().catch((error: unknown) => void errors.push(error));
      await sleep(everyMs, undefined, { signal }).catch(() => {});
    }
  };
  for (const node of nodes) await add(node);
  const running = [
    repeat(POLL_MS, look),
    repeat(HEARTBEAT_MS, async () => void (await Promise.all([...names].map(say)))),
  ];
  return {
    add,
    errors,
    async remove(name) {
      names.delete(name);
      await must(ask('DELETE', `/api/v1/nodes/${name}`), 200);
    },
    async [Symbol.asyncDispose]() {
      ending.abort();
      await Promise.all(running);
      await Promise.all(under);
    },
  };
}

const pathOf = ({ metadata: { namespace, name } }: ClusterPod): string =>
  `/api/v1/namespaces/${namespace}/pods/${name}`;

async function must(asked: ReturnType<ControlPlane['ask']>, wanted: number): Promise<void> {
  const { status, body } = await asked;
  if (status !== wanted) throw new Error(`the API server has answered ${status}: ${JSON.stringify(body)}`);
}
