import type {
  Blob,
  BlobDetail,
  Host,
  HostState,
  Overview,
  Page,
  Snapshot,
  SnapshotDetail,
  Status,
  Topology,
} from '../../console/src/documents.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;

export const BLOB = digest('a');
export const SNAPSHOT = digest('b');

const STATES: readonly HostState[] = [
  'connected',
  'connected',
  'connected',
  'away',
  'quarantined',
  'revoked',
];

/** What the API says of a small cluster that is at work, by its path. @param note a label of each host */
export function cluster(note: string): Record<string, unknown> {
  const nowMs = Date.now();
  const hosts = STATES.map(
    (state, number): Host => ({
      peer: `12D3KooW${String(number).repeat(8)}`,
      name: `node-${number}`,
      state,
      dataAddress: `10.0.0.${number}:4402`,
      labels: { zone: `z${number % 2}`, rack: `r${number % 3}`, note },
      roles: number === 0 ? ['seed'] : [],
      ...{ uploads: 1, uploadSlots: 8, blobs: 12, heardAtMs: nowMs - 3_600_000 },
    }),
  );
  const [first, second, third] = hosts.map(({ peer, name }) => ({ peer, name }));
  const connected = hosts.filter(({ state }) => state === 'connected');
  const overview: Overview = {
    hosts: { connected: 3, away: 1, quarantined: 1, revoked: 1 },
    traffic: { upstreamBytes: 1e9, peerBytes: 9e9, upstreamBytesPerSecond: 1e6, peerBytesPerSecond: 9e6 },
    history: Array.from({ length: 120 }, (_, number) => ({
      atMs: nowMs - (119 - number) * 5_000,
      upstreamBytesPerSecond: number * 1e4,
      peerBytesPerSecond: number * 1e5,
    })),
    starts: {
      count: 30,
      ...{ p50Ms: 240, p90Ms: 480, p99Ms: 1_900 },
      buckets: [100, 250, 500, 1_000, 2_000, null].map((toMs, number) => ({ toMs, count: 5 + number })),
      recent: [
        {
          ...{ atMs: nowMs, image: note, found: 'known', totalMs: 231 },
          peer: first?.peer ?? '',
          host: 'node-0',
        },
      ],
    },
    jobs: { active: 1 },
    ...{ snapshots: 1, blobs: 1 },
  };
  const topology: Topology = {
    hosts: connected.map(({ peer, name, labels, roles }) => ({
      ...{ peer, name, labels, roles },
      ...{ sentBytesPerSecond: 2e6, receivedBytesPerSecond: 1e6 },
    })),
    feeds: [
      { from: first?.peer ?? '', to: second?.peer ?? '', bytesPerSecond: 2e6 },
      { from: first?.peer ?? '', to: third?.peer ?? '', bytesPerSecond: 1e6 },
    ],
  };
  const blob: Blob = {
    ...{ digest: BLOB, origin: 'registry.example', sizeBytes: 4e8, pieces: 100, seeds: 1, children: 1 },
  };
  const blobDetail: BlobDetail = {
    ...blob,
    parts: [
      { peer: 'p0', name: 'node-0', havePieces: 100, wants: false, map: 'f'.repeat(16) },
      { peer: 'p1', name: 'node-1', havePieces: 40, wants: true, map: '00000000ffff0f0f' },
      { peer: 'p2', name: 'node-2', havePieces: 0, wants: true, map: null },
    ],
  };
  const snapshot: Snapshot = {
    ...{ registry: 'registry.example', repository: 'team/app', platform: 'linux/amd64', root: digest('c') },
    ...{ manifest: SNAPSHOT, layout: digest('d'), builder: 'p0', announcer: 'p0', pushed: true },
    ...{ sizeBytes: 5e8, devices: 1, usedAtMs: nowMs },
  };
  const residents = [1, 0.4].map((residency, number) => ({
    peer: `p${number}`,
    name: `node-${number}`,
    residency,
  }));
  const snapshotDetail: SnapshotDetail = {
    ...snapshot,
    layers: [{ digest: digest('e'), sizeBytes: 4e8 }],
    parts: [
      {
        kind: 'meta',
        slot: 0,
        digest: digest('f'),
        sizeBytes: 4e6,
        pieces: 1,
        sharedWith: [],
        hosts: residents,
      },
      {
        ...{ kind: 'device', slot: 0, digest: BLOB, sizeBytes: 4e8, pieces: 100, hosts: residents },
        sharedWith: [{ repository: 'team/other', manifest: digest('1') }],
      },
    ],
    prefetch: [{ device: 0, offset: 4_096, length: 1e7 }],
  };
  const supernodes = ['4'.repeat(52), '5'.repeat(52)].map((peer, number) => ({
    ...{ peer, address: `10.1.0.${number + 1}:4400/${peer}`, version: '0.1.0', startedAtMs: nowMs - 6e7 },
    ...{ serving: true, hosts: 3, leads: number === 0 },
  }));
  const status: Status = {
    ...{ version: '0.1.0', peer: '4'.repeat(52), address: supernodes[0]?.address ?? '', uptimeMs: 6e7 },
    ...{ hosts: 3, blobs: 1, snapshots: 1, jobs: 1, supernodes },
  };
  const page = <Item>(...items: Item[]): Page<Item> => ({ items, next: null });
  return {
    '/status': status,
    '/overview': overview,
    '/topology': topology,
    '/hosts': page(...hosts),
    '/blobs': page(blob),
    '/snapshots': page(snapshot),
    [`/blobs/${encodeURIComponent(BLOB)}`]: [blobDetail],
    [`/snapshots/${encodeURIComponent(SNAPSHOT)}`]: snapshotDetail,
  };
}
