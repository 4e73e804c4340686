import type {
  Job,
  JobState,
  Overview,
  Page,
  SnapshotDetail,
  Status,
  Topology,
} from '../../console/src/documents.ts';

/** What the API says of a made-up cluster of 96 hosts in four zones, by its path: the same each time, but for the time itself. */
export function largeCluster(nowMs: number): Record<string, unknown> {
  const { overview, topology } = new Fleet(nowMs);
  return {
    '/status': statusAt(nowMs),
    '/overview': overview,
    '/topology': topology,
    '/jobs': pageOf(jobsAt(nowMs)),
    [`/snapshots/${encodeURIComponent(LARGE_SNAPSHOT)}`]: snapshotAt(nowMs),
  };
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const ZONES = ['eu-west-1a', 'eu-west-1b', 'eu-west-1c', 'us-east-2a'];
const RACKS = 12;
const RACK_HOSTS = 8;
const IMAGES = [
  'registry.example/shop/checkout:2.14.1',
  'registry.example/ml/training/pytorch-very-long-name-of-an-image:2026.06-cuda12.8-ubuntu24.04',
  'docker.io/library/postgres:17',
  'ghcr.io/team/model-server:cuda12',
  'registry.example/data/spark:4.0',
  'docker.io/library/nginx:1.29',
];

const pageOf = <Item>(items: readonly Item[]): Page<Item> => ({ items, next: null });

/** From 0 to 1, and the same for the same number. Source: Mulberry32. */
function chanceOf(number: number): number {
  let bits = (number + 0x6d2b79f5) | 0;
  bits = Math.imul(bits ^ (bits >>> 15), bits | 1);
  bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
  return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
}

const digestOf = (number: number): string =>
  `sha256:${Array.from({ length: 64 }, (_, at) => Math.floor(chanceOf(number * 64 + at) * 16).toString(16)).join('')}`;
const peerOf = (host: number): string => `12D3KooW${digestOf(1_000 + host).slice(7, 51)}`;
const rackOf = (host: number): number => Math.floor(host / RACK_HOSTS);
const nameOf = (host: number): string =>
  `eu-r${String(rackOf(host)).padStart(2, '0')}-node${String(host % RACK_HOSTS).padStart(2, '0')}`;
const imageAt = (number: number): string => IMAGES[number % IMAGES.length] ?? '';

/** Of the page that shows a snapshot. */
export const LARGE_SNAPSHOT = digestOf(7);

class Fleet {
  readonly overview: Overview;
  readonly topology: Topology;

  constructor(nowMs: number) {
    const hosts = Array.from({ length: RACKS * RACK_HOSTS }, (_, host) => host);
    const feeds = hosts.flatMap((to) => feedsOf(to));
    const sum = (peer: string, end: 'from' | 'to') =>
      feeds.reduce((bytes, feed) => bytes + (feed[end] === peer ? feed.bytesPerSecond : 0), 0);
    this.topology = {
      feeds: feeds.toSorted((one, other) => other.bytesPerSecond - one.bytesPerSecond),
      hosts: hosts.map((host) => ({
        peer: peerOf(host),
        name: nameOf(host),
        labels: { rack: `r${rackOf(host)}`, zone: ZONES[rackOf(host) % ZONES.length] ?? '' },
        roles: host % RACK_HOSTS === 0 ? ['seed'] : [],
        sentBytesPerSecond: sum(peerOf(host), 'from'),
        receivedBytesPerSecond: sum(peerOf(host), 'to'),
      })),
    };
    this.overview = overviewAt(nowMs);
  }
}

/** Mostly of the rack's seed, now and then of a neighbour, seldom of another zone. */
function feedsOf(to: number): Topology['feeds'][number][] {
  const rack = rackOf(to) * RACK_HOSTS;
  const far = Math.floor(chanceOf(to * 3 + 1) * RACKS) * RACK_HOSTS;
  const from = to % RACK_HOSTS === 0 ? [far] : [rack, rack + Math.floor(chanceOf(to) * (to % RACK_HOSTS))];
  return [...new Set(from)]
    .filter((host) => host !== to)
    .map((host, at) => ({
      from: peerOf(host),
      to: peerOf(to),
      bytesPerSecond: 1e6 + 3e7 * chanceOf(to * 5 + at) ** 2,
    }));
}

function overviewAt(nowMs: number): Overview {
  const counts = [8, 60, 340, 1_620, 2_310, 1_180, 620, 410, 260, 150, 70, 30, 18];
  const ends = [25, 50, 100, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000, 10_000, null];
  return {
    hosts: { connected: 91, away: 3, quarantined: 1, revoked: 1 },
    traffic: {
      ...{ upstreamBytes: 1.84e12, peerBytes: 53.1e12 },
      ...{ upstreamBytesPerSecond: 9.1e7, peerBytesPerSecond: 1.08e9 },
    },
    history: Array.from({ length: 120 }, (_, at) => ({
      atMs: nowMs - (119 - at) * 5_000,
      upstreamBytesPerSecond: 8e7 + 3e7 * Math.sin(at / 11) + 1e7 * chanceOf(at),
      peerBytesPerSecond: 1e9 + 5e8 * Math.sin(at / 9) + 2e8 * chanceOf(at + 500),
    })),
    starts: {
      count: counts.reduce((sum, each) => sum + each, 0),
      ...{ p50Ms: 187, p90Ms: 640, p99Ms: 1_620 },
      buckets: ends.map((toMs, at) => ({ toMs, count: counts[at] ?? 0 })),
      recent: Array.from({ length: 10 }, (_, at) => ({
        ...{ atMs: nowMs - at * 13_000, peer: peerOf(at * 5), host: nameOf(at * 5), image: imageAt(at) },
        ...{ found: ['known', 'cluster', 'registry', 'built'][at % 4] ?? '', totalMs: 120 + at * 61 },
      })),
    },
    jobs: { active: 4 },
    ...{ snapshots: 7, blobs: 120 },
  };
}

function statusAt(nowMs: number): Status {
  const supernodes = [0, 1, 2].map((number) => ({
    ...{ peer: peerOf(900 + number), address: `10.0.${number}.5:4400/${peerOf(900 + number)}` },
    ...{ version: '0.1.0', startedAtMs: nowMs - (51 - number) * HOUR_MS, serving: true },
    ...{ hosts: 91, leads: number === 1 },
  }));
  return {
    ...{ version: '0.1.0', peer: peerOf(901), address: supernodes[1]?.address ?? '' },
    ...{ uptimeMs: 50 * HOUR_MS, hosts: 91, blobs: 120, snapshots: 7, jobs: 5, supernodes },
  };
}

const STATES: readonly { readonly state: JobState; readonly succeeded: number; readonly failed?: number }[] =
  [
    { state: 'running', succeeded: 75, failed: 1 },
    { state: 'keeping', succeeded: 96 },
    { state: 'paused', succeeded: 12 },
    { state: 'failed', succeeded: 81, failed: 15 },
    { state: 'waiting', succeeded: 0 },
    { state: 'cancelled', succeeded: 30 },
  ];

function jobsAt(nowMs: number): Job[] {
  return Array.from({ length: 18 }, (_, number) => {
    const { state, succeeded, failed = 0 } = STATES[number] ?? { state: 'succeeded', succeeded: 96 };
    const total = state === 'waiting' ? 0 : 96;
    const rest = Math.max(0, total - succeeded - failed);
    const isOpen = state === 'running' || state === 'paused';
    const createdAtMs = nowMs - (4 + number * 19) * MINUTE_MS;
    return {
      id: `01jdx${String(99 - number).padStart(21, '0')}`,
      spec: { kind: 'preheat', image: imageAt(number), target: {}, parallelism: 100 },
      ...{
        state,
        reason: null,
        error: null,
        createdAtMs,
        createdBy: ['ci', 'marta', 'local'][number % 3] ?? '',
      },
      ...{ startedAtMs: createdAtMs, endedAtMs: null, resolve: null, build: null, snapshot: null },
      isSelected: total > 0,
      hosts: {
        total,
        succeeded,
        failed,
        running: isOpen ? rest : 0,
        waiting: 0,
        cancelled: isOpen ? 0 : rest,
      },
      bytes: { size: succeeded * 4e9, upstream: total === 0 ? 0 : 4.3e9, peer: succeeded * 3.98e9 },
    };
  });
}

function snapshotAt(nowMs: number): SnapshotDetail {
  const parts = Array.from({ length: 12 }, (_, number) => ({
    kind: number === 0 ? ('meta' as const) : ('device' as const),
    slot: Math.max(0, number - 1),
    digest: digestOf(50 + number),
    sizeBytes: number === 0 ? 3.1e6 : Math.round(4e7 + 6e7 * chanceOf(number)),
    pieces: number === 0 ? 1 : 80,
    sharedWith: [2, 3, 4].includes(number) ? [{ repository: 'data/spark', manifest: digestOf(8) }] : [],
    hosts: Array.from({ length: 40 }, (_, host) => ({
      ...{ peer: peerOf(host), name: nameOf(host) },
      residency:
        number === 0 || host < 8 ? 1 : Math.max(0, 1.1 - host / 40 - 0.5 * chanceOf(host * 12 + number)),
    })),
  }));
  return {
    ...{ registry: 'docker.io', repository: 'library/postgres', platform: 'linux/amd64' },
    ...{
      root: digestOf(6),
      manifest: LARGE_SNAPSHOT,
      layout: digestOf(5),
      builder: peerOf(0),
      announcer: peerOf(0),
    },
    ...{ pushed: true, sizeBytes: 897e6, devices: 11, usedAtMs: nowMs - 2 * HOUR_MS },
    layers: Array.from({ length: 7 }, (_, number) => ({
      digest: digestOf(30 + number),
      sizeBytes: (number + 1) * 1e7,
    })),
    parts,
    prefetch: Array.from({ length: 60 }, (_, at) => ({
      device: at % 11,
      offset: Math.round(chanceOf(at * 7) * 4e7),
      length: 2e5 + Math.round(chanceOf(at * 11) * 1e6),
    })),
  };
}
