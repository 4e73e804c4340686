import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface SupernodeMetrics {
  readonly registry: Registry;
  readonly announcements: Counter;
  readonly decisions: Counter;
  readonly reports: Counter;
  readonly adviceSeconds: Histogram;
  readonly jobsEnded: Counter<'kind' | 'state'>;
  readonly startSeconds: Histogram<'found'>;
  readonly deliveries: Counter<'kind' | 'outcome'>;
  readonly requestSeconds: Histogram<'method' | 'route' | 'status'>;
}

/** What is counted when it is asked for. */
export interface CountedState {
  hosts(): number;
  blobs(): number;
  names(): number;
  snapshots(): number;
  jobs(): number;
  listeners(): number;
  upstreamBytes(): number;
  peerBytes(): number;
  /** Whether what must not be forgotten can't be written. */
  isStateAway(): boolean;
  /** That are there, this one among them. */
  supernodes(): number;
  isLeading(): boolean;
  /** Since it was asked before. */
  loopDelaySeconds(): number;
}

/** Where there is nothing to count: of a documentation of what would be. */
const NOTHING: CountedState = {
  hosts: () => 0,
  blobs: () => 0,
  names: () => 0,
  snapshots: () => 0,
  jobs: () => 0,
  listeners: () => 0,
  upstreamBytes: () => 0,
  peerBytes: () => 0,
  isStateAway: () => false,
  supernodes: () => 0,
  isLeading: () => false,
  loopDelaySeconds: () => 0,
};

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export function createSupernodeMetrics(state: CountedState = NOTHING): SupernodeMetrics {
  const registry = new Registry();
  const registers = [registry];
  const asked = (kind: typeof Gauge | typeof Counter, name: string, help: string, read: () => number) =>
    new kind({
      name: `drakkar_supernode_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  asked(Gauge, 'hosts', 'Daemons that are connected.', () => state.hosts());
  asked(Gauge, 'blobs', 'Blobs that somebody wants or has.', () => state.blobs());
  asked(Gauge, 'names', 'Names of files that somebody asks for, or whose digest is known.', () =>
    state.names(),
  );
  asked(Gauge, 'snapshots', 'Snapshots that hosts have announced.', () => state.snapshots());
  asked(Gauge, 'jobs', 'Jobs that have not ended.', () => state.jobs());
  asked(Gauge, 'event_listeners', 'Open event streams.', () => state.listeners());
  asked(Gauge, 'state_away', '1 while what must not be forgotten can’t be written, else 0.', () =>
    state.isStateAway() ? 1 : 0,
  );
  asked(Gauge, 'supernodes', 'Supernodes of this cluster that are there.', () => state.supernodes());
  asked(Gauge, 'leads', '1 on the supernode that has the jobs and the API, else 0.', () =>
    state.isLeading() ? 1 : 0,
  );
  asked(
    Gauge,
    'event_loop_delay_seconds',
    'How late work has its turn, p99 since this was read before.',
    () => state.loopDelaySeconds(),
  );
  asked(Counter, 'upstream_bytes_total', 'Bytes that hosts have read from registries and web servers.', () =>
    state.upstreamBytes(),
  );
  asked(Counter, 'peer_bytes_total', 'Bytes that hosts have had from each other.', () => state.peerBytes());
  return {
    registry,
    announcements: new Counter({
      name: 'drakkar_supernode_announcements_total',
      help: 'What daemons have said that they want or have.',
      registers,
    }),
    decisions: new Counter({
      name: 'drakkar_supernode_decisions_total',
      help: 'Lists of parents that were chosen for a child.',
      registers,
    }),
    reports: new Counter({
      name: 'drakkar_supernode_reports_total',
      help: 'Wrong bytes that daemons were sent by peers.',
      registers,
    }),
    adviceSeconds: new Histogram({
      name: 'drakkar_supernode_advice_seconds',
      help: 'Time of one round of choices, for all who needed one.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
      registers,
    }),
    jobsEnded: new Counter({
      name: 'drakkar_supernode_jobs_ended_total',
      help: 'Jobs that have ended, by what they were and how.',
      labelNames: ['kind', 'state'],
      registers,
    }),
    startSeconds: new Histogram({
      name: 'drakkar_supernode_start_seconds',
      help: 'From when a root file system was asked for until it was ready, on any host, by where its snapshot was found.',
      labelNames: ['found'],
      buckets: [0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 30],
      registers,
    }),
    deliveries: new Counter({
      name: 'drakkar_supernode_webhook_deliveries_total',
      help: 'What registries have sent, by their kind and what came of it.',
      labelNames: ['kind', 'outcome'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'drakkar_supernode_api_request_seconds',
      help: 'Time of requests of the API, without event streams.',
      labelNames: ['method', 'route', 'status'],
      buckets: SECONDS,
      registers,
    }),
  };
}
