import type { Condition, ImageSnapshotSpec, ImageSnapshotStatus, ImageStatus } from '../resources/index.ts';
import { conditionsOf, type Said } from './conditions.ts';
import type { HostPart } from './contract.ts';
import { chosen, isPlatformOf, type NodeLabels } from './items.ts';
import { keyOfItem, type Plan } from './plan.ts';

export interface SummaryOf {
  readonly spec: ImageSnapshotSpec;
  readonly before: ImageSnapshotStatus;
  readonly generation: number;
  readonly plan: Plan;
  readonly nodes: NodeLabels;
  /** How far hosts are with an order. */
  partsOf(order: string): Iterable<HostPart>;
  /** Of those that are connected. */
  hostNames(): ReadonlySet<string>;
  readonly now: string;
}

const MAX_FAILED = 20;
const MAX_NAMED = 5;
const SUSPENDED = { status: 'False', reason: 'Suspended', message: 'it is suspended' } as const;

/** What people are told of an ImageSnapshot. */
export function summaryOf(of: SummaryOf): ImageSnapshotStatus {
  const { spec, before, generation, plan, now } = of;
  const { images, previous } = plan;
  const nodes = nodesOf(of);
  const ready = images.filter(({ phase }) => phase === 'Ready').length;
  const said = [resolved(spec, plan), built(spec, images), distributed(of, nodes)];
  const refreshed = images
    .map(({ round = '' }) => round)
    .sort()
    .at(-1);
  return {
    observedGeneration: generation,
    conditions: conditionsOf(before.conditions ?? [], [...said, readyOf(spec, said)], generation, now),
    ready: `${ready}/${images.length}`,
    images: [...images],
    ...(previous.length === 0 ? {} : { previous: [...previous] }),
    nodes,
    sizeBytes: images.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0),
    ...(refreshed === undefined || refreshed === '' ? {} : { lastRefreshTime: refreshed }),
  };
}

type Nodes = NonNullable<ImageSnapshotStatus['nodes']>;

/** Those that have all of it, of those that are to: hosts, where it is for the seeds. */
export function readyNodes({
  spec,
  plan,
  nodes,
  partsOf,
}: Pick<SummaryOf, 'spec' | 'plan' | 'nodes' | 'partsOf'>): Set<string> {
  const wanted = spec.distribution.scope === 'Nodes' ? chosen(spec.distribution, nodes) : undefined;
  const labelsOf = (host: string) => wanted?.get(host) ?? {};
  const done = new Map<string, number>();
  for (const image of plan.images) {
    const order = plan.kept.get(keyOfItem(image));
    for (const { host, isDone } of order === undefined ? [] : partsOf(order))
      if (isDone && wanted?.has(host) !== false && isPlatformOf(spec, image.platform, labelsOf(host)))
        done.set(host, (done.get(host) ?? 0) + 1);
  }
  const isWhole = ([host, count]: [string, number]) => {
    const labels = labelsOf(host);
    return count === plan.images.filter(({ platform }) => isPlatformOf(spec, platform, labels)).length;
  };
  return new Set(
    done
      .entries()
      .filter(isWhole)
      .map(([host]) => host),
  );
}

/** Those that are to have all of it, and those that do: where nobody is asked for it, those of before. */
function nodesOf(of: SummaryOf): Nodes {
  const { spec, before, plan, nodes, partsOf } = of;
  if (spec.distribution.scope === 'None') return { desired: 0, ready: 0 };
  if (spec.suspend && before.nodes !== undefined) return before.nodes;
  const isNode = spec.distribution.scope === 'Nodes';
  const wanted = chosen(spec.distribution, nodes);
  const seen = new Set<string>();
  const failed: NonNullable<Nodes['failed']> = [];
  for (const image of plan.images) {
    const order = plan.kept.get(keyOfItem(image));
    for (const { host, error } of order === undefined ? [] : partsOf(order)) {
      if (isNode && !wanted.has(host)) continue;
      seen.add(host);
      if (error !== null && failed.length < MAX_FAILED)
        failed.push({ name: host, image: image.image, reason: error.code, message: error.message });
    }
  }
  const ready = readyNodes(of).size;
  const { percentage = 100 } = spec.distribution;
  const desired = isNode ? Math.ceil((wanted.size * percentage) / 100) : seen.size;
  return { desired, ready, ...(failed.length === 0 ? {} : { failed }) };
}

function resolved(spec: ImageSnapshotSpec, { images, scheduleProblem }: Plan): Said {
  const said = progress('Resolved', spec, images, ({ digest }) => digest !== undefined, {
    done: ['AllResolved', 'it is known what all references mean'],
    open: ['Resolving', 'what do these mean:'],
  });
  if (said.status !== 'True' || scheduleProblem === undefined) return said;
  return { type: said.type, status: 'False', reason: 'InvalidSchedule', message: scheduleProblem };
}

function built(spec: ImageSnapshotSpec, images: readonly ImageStatus[]): Said {
  const isBuilt = ({ snapshot, digest }: ImageStatus) => digest !== undefined && snapshot !== undefined;
  return progress('Built', spec, images, isBuilt, {
    done: ['AllBuilt', 'the cluster has a snapshot of all images'],
    open: ['Building', 'these have no snapshot yet:'],
  });
}

function distributed(of: SummaryOf, { desired, ready, failed = [] }: Nodes): Said {
  const { spec, plan, nodes } = of;
  const type = 'Distributed';
  const { scope, nodeSelector } = spec.distribution;
  if (scope === 'None')
    return { type, status: 'True', reason: 'NotWanted', message: 'no node is to have it before a pod asks' };
  if (spec.suspend) return { type, ...SUSPENDED };
  const wanted = chosen(spec.distribution, nodes);
  if (scope === 'Nodes' && wanted.size === 0) {
    const which = nodeSelector === undefined ? 'there are no nodes' : 'no node has these labels';
    return { type, status: 'False', reason: 'NoNodesMatch', message: which };
  }
  if (scope === 'Seeds' && desired === 0 && isAsked(plan))
    return { type, status: 'False', reason: 'NoSeeds', message: 'no host has the role seed: swarm.roles' };
  const counted = `${ready} of ${desired} have all of it`;
  if (plan.images.every(({ phase }) => phase === 'Ready') && ready >= desired && desired > 0)
    return { type, status: 'True', reason: 'AllNodesReady', message: counted };
  const [first] = failed;
  if (first !== undefined) {
    const message = `${counted}; ${failed.length} could not get it, as ${first.name}: ${first.message}`;
    return { type, status: 'False', reason: 'NodesFailed', message };
  }
  const message = `${counted}${withoutDaemon(wanted, of.hostNames())}`;
  return { type, status: 'False', reason: 'Distributing', message };
}

/** Whether all that is to be on hosts has been asked of some. */
const isAsked = ({ images, kept, begin }: Plan): boolean => begin.size === 0 && kept.size === images.length;

function withoutDaemon(wanted: NodeLabels, hosts: ReadonlySet<string>): string {
  const missing = [...wanted.keys()].filter((name) => !hosts.has(name)).sort();
  if (missing.length === 0) return '';
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  return `; no daemon: ${missing.slice(0, MAX_NAMED).join(', ')}${more}`;
}

function readyOf({ suspend }: ImageSnapshotSpec, said: readonly Said[]): Said {
  const type = 'Ready';
  if (suspend) return { type, ...SUSPENDED };
  const missing = said.find(({ status }) => status !== 'True');
  if (missing === undefined) return { type, status: 'True', reason: 'Ready', message: 'all of it is there' };
  return { type, status: 'False', reason: missing.reason, message: missing.message };
}

function progress(
  type: Condition['type'],
  { suspend }: ImageSnapshotSpec,
  images: readonly ImageStatus[],
  isDone: (image: ImageStatus) => boolean,
  say: Record<'done' | 'open', readonly [reason: string, message: string]>,
): Said {
  const open = images.filter((image) => !isDone(image));
  if (open.length === 0) return { type, status: 'True', reason: say.done[0], message: say.done[1] };
  const failed = open.filter(({ phase }) => phase === 'Failed');
  const [first] = failed;
  const more = failed.length > 1 ? `, and ${failed.length - 1} more` : '';
  if (first !== undefined) {
    const message = `${first.image} for ${first.platform}: ${first.message ?? 'it failed'}${more}`;
    return { type, status: 'False', reason: first.reason ?? 'Failed', message };
  }
  if (suspend) return { type, ...SUSPENDED };
  const names = open.slice(0, MAX_NAMED).map(({ image }) => image);
  const message = `${say.open[1]} ${names.join(', ')}${open.length > MAX_NAMED ? ', …' : ''}`;
  return { type, status: 'False', reason: say.open[0], message };
}
