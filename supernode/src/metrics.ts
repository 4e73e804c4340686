import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface SupernodeMetrics {
  readonly registry: Registry;
  readonly announcements: Counter;
  readonly decisions: Counter;
  readonly reports: Counter;
  readonly adviceSeconds: Histogram;
}

/** @param state what is counted when it is asked for */
export function createSupernodeMetrics(state: {
  hosts(): number;
  blobs(): number;
  names(): number;
  snapshots(): number;
}): SupernodeMetrics {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: 'drakkar_supernode_hosts',
    help: 'Daemons that are connected.',
    registers,
    collect() {
      this.set(state.hosts());
    },
  });
  new Gauge({
    name: 'drakkar_supernode_blobs',
    help: 'Blobs that somebody wants or has.',
    registers,
    collect() {
      this.set(state.blobs());
    },
  });
  new Gauge({
    name: 'drakkar_supernode_names',
    help: 'Names of files that somebody asks for, or whose digest is known.',
    registers,
    collect() {
      this.set(state.names());
    },
  });
  new Gauge({
    name: 'drakkar_supernode_snapshots',
    help: 'Snapshots that hosts have announced.',
    registers,
    collect() {
      this.set(state.snapshots());
    },
  });
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
  };
}
