import type { HostWorkDocument, JobDocument } from '@drakkar/client';
import { formatBytes, formatDuration, formatTable } from '../output/format.ts';
import type { LeftOut, MeasureSpec } from './request.ts';
import type { Round } from './rounds.ts';

/** What hosts have measured, as it is kept and as people read it. Pure. */

/** One measured run on one host, in the form that benchmarks have. */
export interface HostSample {
  readonly wallMs: number;
  readonly round: number;
  readonly firstByteMs: number | null;
  readonly mountedMs: number | null;
  readonly sizeBytes: number;
  /** Of what was wanted, before it began. */
  readonly hereBytes: number;
  readonly upstreamBytes: number;
  readonly peerBytes: number;
  readonly storeBytes: number;
  readonly joinedBytes: number;
  readonly discardedBytes: number;
}

export interface HostFailure {
  readonly host: string;
  /** `null` of a host that was never asked. */
  readonly round: number | null;
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** The raw data, as bench/results has that of other benchmarks. */
export interface FleetResult {
  readonly name: string;
  readonly title: string;
  readonly method: string;
  readonly measuredAt: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly series: readonly { readonly name: string; readonly samples: readonly HostSample[] }[];
  readonly claims: readonly never[];
  readonly failures: readonly HostFailure[];
}

const METHOD = {
  pull: 'Every host was asked to pull the layers of the image into its store, and measured for itself how long that took and where the bytes came from. What hosts brought they kept for each other until all had ended, and gave up then.',
  start:
    'Every host was asked to come by the image’s snapshot, mount it, and fetch what starts of it are known to read, and measured for itself how long that took and where the bytes came from. No program of the image ran. What hosts brought they kept for each other until all had ended, and gave up then.',
} as const;

export function resultOf(
  spec: MeasureSpec,
  rounds: readonly Round[],
  leftOut: readonly LeftOut[],
  measuredAt: Date,
): FleetResult {
  const { what, image } = spec;
  const samples = new Map<string, HostSample[]>();
  const failures: HostFailure[] = leftOut.map(({ name, error }) => ({ host: name, round: null, ...error }));
  for (const [round, { job, works }] of rounds.entries()) {
    if (works.length === 0 && job.state !== 'succeeded') failures.push(failureOf('all', round, job, null));
    for (const work of works) {
      const sample = sampleOf(work, round);
      if (sample === undefined) failures.push(failureOf(work.name, round, job, work));
      else samples.set(work.name, [...(samples.get(work.name) ?? []), sample]);
    }
  }
  const { root, layers = [] } = rounds.find(({ job }) => job.resolved !== null)?.job.resolved ?? {};
  return {
    name: `fleet-${what}`,
    title: `${what === 'pull' ? 'Pull' : 'Start'} of ${image} on ${samples.size} hosts`,
    method: METHOD[what],
    measuredAt: measuredAt.toISOString(),
    input: {
      ...spec,
      digest: root ?? null,
      imageSizeBytes: layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      rounds: rounds.length,
      jobs: rounds.map(({ job }) => job.id),
    },
    series: [...samples]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, of]) => ({ name, samples: of })),
    claims: [],
    failures,
  };
}

function sampleOf(work: HostWorkDocument, round: number): HostSample | undefined {
  const { state, measured, sizeBytes, upstreamBytes, peerBytes } = work;
  if (state !== 'succeeded' || measured == null) return undefined;
  const { elapsedMs, ...rest } = measured;
  return { wallMs: elapsedMs, round, sizeBytes, upstreamBytes, peerBytes, ...rest };
}

function failureOf(
  host: string,
  round: number,
  job: JobDocument,
  work: HostWorkDocument | null,
): HostFailure {
  const error = work?.error ?? job.error;
  const isCancelled = work?.state === 'cancelled' || (work === null && job.state === 'cancelled');
  if (isCancelled || error === null)
    return { host, round, code: 'cancelled', message: job.reason ?? 'it was ended before the host was done' };
  return { host, round, ...error };
}

/** For people. */
export function describeResult({ series, failures, title }: FleetResult, files: readonly string[]): string {
  const rows = series.flatMap(({ name, samples }) =>
    samples.map((sample) => [
      name,
      String(sample.round + 1),
      formatDuration(sample.wallMs),
      sample.mountedMs === null ? '–' : formatDuration(sample.mountedMs),
      formatBytes(sample.hereBytes),
      formatBytes(sample.peerBytes),
      formatBytes(sample.upstreamBytes),
      formatBytes(sample.joinedBytes),
    ]),
  );
  const headings = [
    'HOST',
    'ROUND',
    'TOOK',
    'MOUNTED',
    'HERE BEFORE',
    'FROM HOSTS',
    'FROM REGISTRIES',
    'FOR OTHERS',
  ];
  const table = rows.length === 0 ? [] : [formatTable(headings, rows)];
  const walls = series.flatMap(({ samples }) => samples.map(({ wallMs }) => wallMs)).sort((a, b) => a - b);
  const at = (share: number) =>
    formatDuration(walls[Math.min(walls.length - 1, Math.floor(walls.length * share))] ?? 0);
  const summary =
    walls.length === 0 ? [] : [`median ${at(0.5)}, 99 % within ${at(0.99)}, the slowest ${at(1)}`];
  const failed = failures.map(
    ({ host, round, message, hint }) =>
      `${host}${round === null ? '' : `, round ${round + 1}`}: ${message}${hint === undefined ? '' : ` (${hint})`}`,
  );
  return [title, ...table, ...summary, ...failed, ...files].join('\n');
}
