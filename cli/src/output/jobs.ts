import type { HostWorkDocument, JobDocument } from '@drakkar/client';
import { formatAge, formatBytes, formatTable } from './format.ts';

/** Jobs as people read them. Pure. */

/** What a job is about. */
export function subjectOf({ spec }: JobDocument): string {
  switch (spec.kind) {
    case 'get':
      return spec.url;
    case 'evict':
      return spec.image ?? spec.digest ?? '';
    default:
      return spec.image;
  }
}

export function jobTable(jobs: readonly JobDocument[], nowMs: number): string {
  const rows = jobs.map((job) => [
    job.id,
    job.spec.kind,
    job.state,
    hostsOf(job),
    formatBytes(job.bytes.peer + upstreamOf(job)),
    formatAge(nowMs - job.createdAtMs),
    subjectOf(job),
  ]);
  return formatTable(['ID', 'KIND', 'STATE', 'HOSTS', 'MOVED', 'AGE', 'WHAT'], rows);
}

/** Also what was read to build. */
const upstreamOf = ({ bytes, build }: JobDocument): number => bytes.upstream + (build?.upstreamBytes ?? 0);

function hostsOf({ spec, hosts }: JobDocument): string {
  if (spec.kind === 'build') return '–';
  return `${hosts.succeeded} of ${hosts.total}${hosts.failed > 0 ? `, ${hosts.failed} failed` : ''}`;
}

/** One line of a job that is on its way. */
export function jobLine(job: JobDocument): string {
  const { spec, state, reason, resolve, build, hosts, bytes } = job;
  if (reason !== null) return `${state}: ${reason}`;
  if (build?.state === 'running') return `building on ${build.name}${percentOf(build)}`;
  if (resolve?.state === 'running') return `resolving on ${resolve.name}`;
  if (hosts.total === 0) return state;
  const failed = hosts.failed > 0 ? `, ${hosts.failed} failed` : '';
  const at = hosts.running > 0 ? `, ${hosts.running} at it` : '';
  if (spec.kind === 'measure') return `${hosts.succeeded} of ${hosts.total} hosts are measured${at}${failed}`;
  if (spec.kind === 'evict')
    return `${hosts.succeeded} of ${hosts.total} hosts gave it up${at}${failed}; ${formatBytes(bytes.size)} freed`;
  return `${hosts.succeeded} of ${hosts.total} hosts have it, ${hosts.running} are at it${failed}; ${formatBytes(bytes.peer)} from hosts, ${formatBytes(upstreamOf(job))} from registries`;
}

export function jobDetail(job: JobDocument, works: readonly HostWorkDocument[], nowMs: number): string {
  const { resolved, snapshot, error, trace } = job;
  const single = (['resolve', 'build'] as const).flatMap((step) => {
    const work = job[step];
    return work === null ? [] : [[step, `${work.state} on ${work.name}${percentOf(work)}`]];
  });
  const facts = [
    ['job', job.id],
    ['what', `${job.spec.kind} ${subjectOf(job)}`],
    ['state', job.reason === null ? job.state : `${job.state}: ${job.reason}`],
    ['created', `${formatAge(nowMs - job.createdAtMs)} ago by ${job.createdBy}`],
    ...(trace === null ? [] : [['trace', trace.traceId]]),
    ...(resolved === null ? [] : [['image', `${resolved.root} (${resolved.platform})`]]),
    ...single,
    ...(snapshot === null ? [] : [['snapshot', `${snapshot.found}, ${formatBytes(snapshot.sizeBytes)}`]]),
    ...(error === null ? [] : [['error', `${error.code}: ${error.message}`]]),
    ...(error?.hint === undefined ? [] : [['', error.hint]]),
  ] as const;
  const lines = facts.map(([name = '', value = '']) => `${name.padEnd(9)}${value}`);
  return works.length === 0 ? lines.join('\n') : [...lines, '', hostTable(works)].join('\n');
}

function hostTable(works: readonly HostWorkDocument[]): string {
  const rows = works.map((work) => [
    work.name,
    work.state + percentOf(work),
    String(work.attempts),
    formatBytes(work.sizeBytes),
    formatBytes(work.peerBytes),
    formatBytes(work.upstreamBytes),
    work.error === null ? '' : `${work.error.code}: ${work.error.message}`,
  ]);
  return formatTable(['HOST', 'STATE', 'TRIES', 'HAS', 'FROM HOSTS', 'FROM REGISTRIES', 'ERROR'], rows);
}

function percentOf({ state, doneBytes, totalBytes }: HostWorkDocument): string {
  if (state !== 'running' || totalBytes === 0) return '';
  return ` ${Math.min(100, Math.floor((100 * doneBytes) / totalBytes))} %`;
}
