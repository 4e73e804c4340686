import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ApiServer,
  connectApiServer,
  Events,
  followNodes,
  ImageSnapshots,
  Secrets,
} from '@drakkar/kubernetes';
import { type ControlPlane, MemoryFleet, startControlPlane } from '@drakkar/lab';
import { eachOf } from '../runner/parallel.ts';
import { all, atMost, type Result } from '../runner/results.ts';
import { quantile } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const FULL = {
  snapshots: Number(process.env.DRAKKAR_BENCH_SNAPSHOTS ?? 2_000),
  nodes: Number(process.env.DRAKKAR_BENCH_NODES ?? 5_000),
  changes: 100,
  idleSeconds: 30,
} as const;
const QUICK = { snapshots: 20, nodes: 50, changes: 3, idleSeconds: 3 } as const;
const AT_ONCE = 8;
const POLL_MS = 20;
const DEADLINE_MS = 15 * 60_000;
const MIB = 1024 ** 2;
const PATH = '/apis/drakkar.dev/v1alpha1/imagesnapshots';
const APPLY = 'application/apply-patch+yaml';
const CRDS = new URL('../../../deploy/kubernetes/crds', import.meta.url).pathname;

const METHOD = [
  'A real kube-apiserver over etcd, and the controller in the process of the benchmark. Its hosts do at once what they are asked, so that the controller and the API server alone are measured.',
  'Nodes are objects. First all ImageSnapshots are made, until each says that it is ready; then one after the other gets another image, from before that is written to when it says that it is ready again.',
].join(' ');

/** What thousands of ImageSnapshots and nodes cost, and how soon a change has come about. */
export const kubernetes: Scenario = async ({ isQuick, onSample }) => {
  const size = isQuick ? QUICK : FULL;
  await using stack = new AsyncDisposableStack();
  const plane = stack.use(await startControlPlane());
  await plane.kubectl(['apply', '--kustomize', CRDS]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd/imagesnapshots.drakkar.dev']);
  await eachOf(numbered('node', size.nodes), AT_ONCE, (name) => makeNode(plane, name));
  const before = process.memoryUsage().rss;
  const requests = new Map<string, number>();
  const fleet = new MemoryFleet();
  const api = counted(connectApiServer({ kubeconfig: plane.kubeconfig, context: null }), requests);
  const snapshots = stack.use(await startController(api, fleet));
  const names = numbered('snapshot', size.snapshots);
  const startedMs = performance.now();
  await eachOf(names, AT_ONCE, async (name) => void (await apply(plane, name, [name])));
  await until(async () => (await readyOf(plane)) >= size.snapshots);
  const allMs = performance.now() - startedMs;
  onSample('all ready', 0, { wallMs: allMs });
  const each = sumOf(requests) / size.snapshots;
  const byVerb = Object.fromEntries(requests);
  const changes = [];
  for (const [round, name] of names.slice(0, size.changes).entries()) {
    const changedMs = performance.now();
    const generation = await apply(plane, name, [name, 'another']);
    await until(async () => await isReady(plane, name, generation));
    changes.push({ wallMs: performance.now() - changedMs });
    onSample('a change', round, { wallMs: performance.now() - changedMs });
  }
  const waits = changes.map(({ wallMs }) => wallMs);
  const idleBefore = sumOf(requests);
  await sleep(size.idleSeconds * 1_000);
  const idle = (sumOf(requests) - idleBefore) / size.idleSeconds;
  const grownMib = (process.memoryUsage().rss - before) / MIB;
  const result: Result = {
    name: 'kubernetes',
    title: `${size.snapshots} ImageSnapshots on ${size.nodes} nodes`,
    method: METHOD,
    series: [
      { name: 'until all were ready', samples: [{ wallMs: allMs }] },
      { name: 'from a change until it had come about', samples: changes },
    ],
    input: {
      ...{ snapshots: snapshots.size, nodes: size.nodes, requests: byVerb, requestsOfEach: each },
      ...{ requestsPerSecondIdle: idle, grownMib, p99Ms: quantile(waits, 0.99) },
    },
    claims: [
      all('kubernetes: ImageSnapshots that became ready', snapshots.size / size.snapshots),
      atMost('kubernetes: requests until one was ready', each, '×', 15),
      atMost('kubernetes: requests a second when nothing changes', idle, '×', 1),
      atMost('kubernetes: a change until it has come about, p99', quantile(waits, 0.99), 'ms', 5_000),
      atMost('kubernetes: memory of the controller', grownMib, 'MiB', 512),
    ],
  };
  return [result];
};

async function startController(api: ApiServer, fleet: MemoryFleet): Promise<ImageSnapshots> {
  const log = { info: () => {}, warn: () => {} };
  const ending = new AbortController();
  const events = new Events(api, { component: 'drakkar-bench', instance: 'bench', failed: () => {} });
  const nodes = followNodes(api, log, (name) => {
    fleet.hosts.add(name);
    controller.nodesChanged();
  });
  const controller = new ImageSnapshots({ api, fleet, secrets: new Secrets(api), events, nodes, log });
  const following = nodes.run(ending.signal);
  await nodes.filled;
  controller.start();
  const end = controller[Symbol.asyncDispose].bind(controller);
  controller[Symbol.asyncDispose] = async () => {
    await end();
    ending.abort();
    await following;
  };
  return controller;
}

/** Counts requests by what they do. */
function counted(api: ApiServer, requests: Map<string, number>): ApiServer {
  const count = (what: string) => requests.set(what, (requests.get(what) ?? 0) + 1);
  return {
    request: (method, path, call) => {
      count(
        `${method} ${path.includes('/events/') ? 'event' : path.endsWith('/status') ? 'status' : 'object'}`,
      );
      return api.request(method, path, call);
    },
    watch: (path, call) => {
      count('WATCH');
      return api.watch(path, call);
    },
  };
}

const numbered = (what: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${what}-${String(index).padStart(5, '0')}`);

const sumOf = (counts: ReadonlyMap<string, number>): number =>
  counts.values().reduce((sum, count) => sum + count, 0);

async function makeNode({ ask }: ControlPlane, name: string): Promise<void> {
  const labels = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64', pool: `${name.at(-1)}` };
  const { status } = await ask('POST', '/api/v1/nodes', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
  });
  if (status !== 201) throw new Error(`a node was answered with ${status}`);
}

/** @returns its generation */
async function apply({ ask }: ControlPlane, name: string, images: readonly string[]): Promise<number> {
  const spec = { images, distribution: { nodeSelector: { pool: `${name.at(-1)}` } } };
  const object = { apiVersion: 'drakkar.dev/v1alpha1', kind: 'ImageSnapshot', metadata: { name }, spec };
  const { status, body } = await ask('PATCH', `${PATH}/${name}?fieldManager=bench&force=true`, object, APPLY);
  if (status > 201) throw new Error(`an ImageSnapshot was answered with ${status}`);
  return (body as { metadata: { generation: number } }).metadata.generation;
}

interface Read {
  readonly status?: {
    readonly observedGeneration?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

const isTrue = ({ status }: Read): boolean =>
  status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') === true;

async function isReady({ ask }: ControlPlane, name: string, generation: number): Promise<boolean> {
  const { body } = await ask('GET', `${PATH}/${name}`);
  return (body as Read).status?.observedGeneration === generation && isTrue(body as Read);
}

async function readyOf({ ask }: ControlPlane): Promise<number> {
  await sleep(1_000);
  const { body } = await ask('GET', PATH);
  return (body as { items: Read[] }).items.filter(isTrue).length;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + DEADLINE_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error('it has not come about in a quarter of an hour');
    await sleep(POLL_MS);
  }
}
