import type { Topology, TopologyHost } from '../documents.ts';
import { placeOf } from './hosts.ts';

/** What one mark of the diagram stands for. */
export type Level = 'host' | 'rack' | 'zone';

export interface TopologyNode {
  readonly id: string;
  readonly label: string;
  readonly zone: string;
  readonly rack: string;
  readonly hosts: number;
  readonly seeds: number;
  readonly sentBytesPerSecond: number;
  readonly receivedBytesPerSecond: number;
  /** What its hosts give each other. */
  readonly withinBytesPerSecond: number;
}

export interface TopologyEdge {
  /** Indices of nodes. */
  readonly from: number;
  readonly to: number;
  readonly bytesPerSecond: number;
}

export interface TopologyView {
  readonly level: Level;
  /** By zone, rack and name. */
  readonly nodes: readonly TopologyNode[];
  /** The strongest first. */
  readonly edges: readonly TopologyEdge[];
  /** How far bytes went, of all hosts. */
  readonly near: { readonly rack: number; readonly zone: number; readonly far: number };
  readonly hosts: number;
  readonly zones: readonly string[];
}

/** More hosts than this on one circle are a blur. */
export const MOST_HOSTS = 300;
/** Racks carry no labels: somewhat more of them can be told apart. */
const MOST_RACKS = 500;

/** A topology as nodes and edges: hosts so long as there are few, else their racks, else their zones. */
export function arrange(
  { hosts, feeds }: Topology,
  { level: wanted = null, zone = '' }: { readonly level?: Level | null; readonly zone?: string } = {},
): TopologyView {
  const places = new Map<string, { zone: string; rack: string }>();
  for (const { peer, labels } of hosts) places.set(peer, placeOf(labels));
  const shown = zone === '' ? hosts : hosts.filter(({ peer }) => places.get(peer)?.zone === zone);
  const racks = new Set(shown.map(({ labels }) => keyOf('rack', placeOf(labels))));
  const fitting =
    shown.length <= MOST_HOSTS ? 'host' : racks.size > 1 && racks.size <= MOST_RACKS ? 'rack' : 'zone';
  const level = wanted ?? fitting;
  const { nodes, indexOf } = nodesOf(shown, level);

  const near = { rack: 0, zone: 0, far: 0 };
  const rates = new Map<number, number>();
  const within = new Float64Array(nodes.length);
  for (const { from, to, bytesPerSecond } of feeds) {
    const source = places.get(from);
    const target = places.get(to);
    if (source === undefined || target === undefined) continue;
    const isSameZone = source.zone === target.zone;
    near[isSameZone ? (source.rack === target.rack ? 'rack' : 'zone') : 'far'] += bytesPerSecond;
    const one = indexOf.get(from);
    const other = indexOf.get(to);
    if (one === undefined || other === undefined) continue;
    if (one === other) within[one] = (within[one] ?? 0) + bytesPerSecond;
    else {
      const key = one * nodes.length + other;
      rates.set(key, (rates.get(key) ?? 0) + bytesPerSecond);
    }
  }
  const edges = [...rates]
    .map(([key, bytesPerSecond]) => ({
      from: Math.floor(key / nodes.length),
      to: key % nodes.length,
      bytesPerSecond,
    }))
    .sort((one, other) => other.bytesPerSecond - one.bytesPerSecond);
  return {
    level,
    nodes: nodes.map((node, index) => ({ ...node, withinBytesPerSecond: within[index] ?? 0 })),
    edges,
    near,
    hosts: shown.length,
    zones: [...new Set([...places.values()].map((place) => place.zone))].sort(compare),
  };
}

const compare = (one: string, other: string): number => one.localeCompare(other, 'en', { numeric: true });

function keyOf(level: 'rack' | 'zone', { zone, rack }: { zone: string; rack: string }): string {
  return level === 'zone' ? zone : `${zone}\n${rack}`;
}

function nodesOf(hosts: readonly TopologyHost[], level: Level) {
  const groups = new Map<string, { label: string; zone: string; rack: string; hosts: TopologyHost[] }>();
  for (const host of hosts) {
    const place = placeOf(host.labels);
    const key = level === 'host' ? host.peer : keyOf(level, place);
    const group = groups.get(key);
    if (group !== undefined) group.hosts.push(host);
    else {
      const label = level === 'host' ? host.name : place[level];
      groups.set(key, { label, zone: place.zone, rack: level === 'zone' ? '' : place.rack, hosts: [host] });
    }
  }
  const sorted = [...groups].sort(
    ([, one], [, other]) =>
      compare(one.zone, other.zone) || compare(one.rack, other.rack) || compare(one.label, other.label),
  );
  const indexOf = new Map<string, number>();
  const nodes = sorted.map(([id, { label, zone, rack, hosts: members }], index) => {
    let [seeds, sent, received] = [0, 0, 0];
    for (const host of members) {
      indexOf.set(host.peer, index);
      if (host.roles.includes('seed')) seeds += 1;
      sent += host.sentBytesPerSecond;
      received += host.receivedBytesPerSecond;
    }
    return {
      id,
      label: label === '' ? `no ${level === 'host' ? 'name' : level}` : label,
      ...{ zone, rack, hosts: members.length, seeds },
      sentBytesPerSecond: sent,
      receivedBytesPerSecond: received,
    };
  });
  return { nodes, indexOf };
}
