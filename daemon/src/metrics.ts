import { Counter, Gauge, Registry } from 'prom-client';

/** What is counted, looked at when somebody asks. */
export interface DaemonFigures {
  readonly storeUsedBytes: number;
  readonly storeQuotaBytes: number;
  readonly storeContents: number;
  readonly upstreamBytes: number;
  readonly downloads: number;
  readonly swarmSentBytes: number;
  readonly swarmReceivedBytes: number;
  readonly swarmUploads: number;
  readonly swarmExchanges: number;
  readonly supernodeUp: number;
  readonly snapshots: number;
  readonly snapshotsOfflineReady: number;
  readonly snapshotBytes: number;
  readonly snapshotResidentBytes: number;
  readonly blocksWished: number;
  readonly blocksFilled: number;
  readonly blocksRefused: number;
}

type Description = readonly [
  figure: keyof DaemonFigures,
  kind: typeof Gauge | typeof Counter,
  name: string,
  help: string,
];

const DESCRIPTIONS: readonly Description[] = [
  ['storeUsedBytes', Gauge, 'drakkar_store_used_bytes', 'Bytes that the store holds or has set aside.'],
  ['storeQuotaBytes', Gauge, 'drakkar_store_quota_bytes', 'Bytes that the store may hold.'],
  ['storeContents', Gauge, 'drakkar_store_contents', 'Blobs and raw snapshot files in the store.'],
  [
    'upstreamBytes',
    Counter,
    'drakkar_upstream_received_bytes_total',
    'Bytes of blobs and files that came from registries and web servers.',
  ],
  ['downloads', Gauge, 'drakkar_downloads', 'Blobs that are on their way into the store.'],
  [
    'swarmSentBytes',
    Counter,
    'drakkar_swarm_sent_bytes_total',
    'Bytes of pieces that other hosts were given.',
  ],
  [
    'swarmReceivedBytes',
    Counter,
    'drakkar_swarm_received_bytes_total',
    'Bytes of pieces that other hosts gave.',
  ],
  ['swarmUploads', Gauge, 'drakkar_swarm_uploads', 'Requests of other hosts that are being served.'],
  ['swarmExchanges', Gauge, 'drakkar_swarm_exchanges', 'Blobs about which this host speaks with others.'],
  ['supernodeUp', Gauge, 'drakkar_supernode_up', '1 while the supernode is there, else 0.'],
  ['snapshots', Gauge, 'drakkar_snapshots', 'Snapshots that are known here.'],
  [
    'snapshotsOfflineReady',
    Gauge,
    'drakkar_snapshots_offline_ready',
    'Those of which all is here: they need nobody.',
  ],
  ['snapshotBytes', Gauge, 'drakkar_snapshot_bytes', 'Raw bytes of all snapshots’ devices.'],
  ['snapshotResidentBytes', Gauge, 'drakkar_snapshot_resident_bytes', 'Those of them that are here.'],
  [
    'blocksWished',
    Counter,
    'drakkar_fill_blocks_waited_for_total',
    'Blocks of lazy volumes that readers waited for.',
  ],
  [
    'blocksFilled',
    Counter,
    'drakkar_fill_blocks_total',
    'Blocks that were filled, whether or not anybody waited.',
  ],
  [
    'blocksRefused',
    Counter,
    'drakkar_fill_blocks_refused_total',
    'Blocks that could not be had: readers got an error.',
  ],
];

const NOTHING: DaemonFigures = {
  storeUsedBytes: 0,
  storeQuotaBytes: 0,
  storeContents: 0,
  upstreamBytes: 0,
  downloads: 0,
  swarmSentBytes: 0,
  swarmReceivedBytes: 0,
  swarmUploads: 0,
  swarmExchanges: 0,
  supernodeUp: 0,
  snapshots: 0,
  snapshotsOfflineReady: 0,
  snapshotBytes: 0,
  snapshotResidentBytes: 0,
  blocksWished: 0,
  blocksFilled: 0,
  blocksRefused: 0,
};

/** One scrape asks for all metrics at once. */
const SCRAPE_MS = 50;

/** The daemon's metrics, read from `figures` when they are asked for. */
export function createDaemonMetrics(figures: () => DaemonFigures = () => NOTHING): Registry {
  const registry = new Registry();
  let seen = NOTHING;
  let seenAtMs = Number.NEGATIVE_INFINITY;
  const look = () => {
    if (performance.now() - seenAtMs > SCRAPE_MS) seen = figures();
    seenAtMs = performance.now();
    return seen;
  };
  for (const [figure, Kind, name, help] of DESCRIPTIONS) {
    new Kind({
      name,
      help,
      registers: [registry],
      collect() {
        const value = look()[figure];
        if (this instanceof Counter) {
          this.reset();
          this.inc(value);
        } else {
          this.set(value);
        }
      },
    });
  }
  return registry;
}
