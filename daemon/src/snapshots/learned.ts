import { randomUUID } from 'node:crypto';
import {
  type DeviceRange,
  type Digest,
  decodeTrace,
  requireTrace,
  type SnapshotConfig,
  type Trace,
} from '@drakkar/protocol';
import type { Start, TracedStart, TraceFigures, Traces } from '@drakkar/service';
import type { Cluster } from './modules.ts';

/** Under which what the cluster has learned stands among this host's own traces. */
const CLUSTER = 'cluster';

/** What starts of snapshots read, as this host and the cluster have learned it. */
export class LearnedStarts {
  readonly #traces: Traces;
  readonly #cluster: Cluster | undefined;

  constructor(traces: Traces, cluster: Cluster | undefined) {
    this.#traces = traces;
    this.#cluster = cluster;
  }

  /**
   * What a start will read, in that order: as the builder knew, and as this host knows besides. Of what lies together as the builder knew it nobody sees any more
   * what is read once all of it is here.
   */
  listOf(config: SnapshotConfig, startKey: Digest): Trace {
    return [...(config.prefetch ?? []), ...this.#own(config, startKey)];
  }

  /** The same; where this host knows nothing the cluster is asked. @throws `cancelled` */
  async find(config: SnapshotConfig, startKey: Digest, signal: AbortSignal): Promise<Trace> {
    const own = this.#own(config, startKey);
    if (own.length > 0 || this.#cluster === undefined) return this.listOf(config, startKey);
    const learned = await this.#cluster.learned(startOf(config, startKey), signal);
    return [...(config.prefetch ?? []), ...learned];
  }

  #own(config: SnapshotConfig, startKey: Digest): DeviceRange[] {
    return decodeTrace(this.#traces.learned(startOf(config, startKey)));
  }

  /** The cluster has given what it has learned. */
  given(config: SnapshotConfig, startKey: Digest, learned: Trace): void {
    if (learned.length === 0) return;
    this.#traces.report(startOf(config, startKey), CLUSTER, learned, Date.now());
  }

  /**
   * A start has been traced: the cluster is told, too.
   * @throws `invalid_content` | `limit_exceeded` for what no start has read
   */
  report(config: SnapshotConfig, startKey: Digest, trace: Trace, figures?: TraceFigures): void {
    requireTrace(trace);
    const start = startOf(config, startKey);
    this.#traces.report(start, randomUUID(), trace, Date.now(), figures);
    this.#cluster?.reportTrace(start, trace);
  }

  /** How well the last starts were foreseen, the last one first. */
  starts({ meta }: SnapshotConfig): TracedStart[] {
    return this.#traces.starts(meta.rawDigest);
  }
}

function startOf({ meta }: SnapshotConfig, startKey: Digest): Start {
  return { layout: meta.rawDigest, startKey };
}
