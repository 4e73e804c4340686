import type { HostWork, Job, JobAction, Page } from '../documents.ts';
import { labelsText, several } from '../format.ts';

export const isEnded = ({ state }: Pick<Job, 'state'>): boolean =>
  state === 'succeeded' || state === 'failed' || state === 'cancelled';

/** What a job is about: an image, a URL or a digest. */
export const subjectOf = ({ spec }: Pick<Job, 'spec'>): string => spec.image ?? spec.url ?? spec.digest ?? '';

export function actionsOf({ state }: Pick<Job, 'state'>): JobAction[] {
  if (state === 'paused') return ['resume', 'cancel'];
  if (state === 'failed' || state === 'cancelled') return ['retry'];
  return state === 'succeeded' ? [] : ['pause', 'cancel'];
}

export interface Progress {
  readonly done: number;
  readonly failed: number;
  readonly total: number;
  readonly words: string;
}

/** How far a job is: by hosts, or by bytes while one host builds for all. */
export function progressOf(job: Job): Progress {
  const { hosts, build, resolve } = job;
  const first = build !== null && build.state !== 'succeeded' ? build : resolve;
  const waitsForOne = hosts.total === 0 || !job.isSelected;
  if (waitsForOne && build !== null) return workProgress(build);
  if (waitsForOne) {
    const words =
      first?.state === 'running'
        ? `${first.name} looks the name up`
        : isEnded(job)
          ? ''
          : 'no host chosen yet';
    return { done: 0, failed: 0, total: 1, words };
  }
  const failed = hosts.failed === 0 ? '' : `, ${hosts.failed} failed`;
  return {
    done: hosts.succeeded,
    failed: hosts.failed,
    total: hosts.total,
    words: `${hosts.succeeded} of ${several(hosts.total, 'host')}${failed}`,
  };
}

/** How far one host is with its part. */
export function workProgress({ name, state, phase, doneBytes, totalBytes }: HostWork): Progress {
  if (state === 'succeeded') return { done: 1, failed: 0, total: 1, words: `done on ${name}` };
  if (state === 'failed') return { done: 0, failed: 1, total: 1, words: `failed on ${name}` };
  const words = state === 'running' ? `${phase ?? 'begins'} on ${name}` : state;
  return { done: totalBytes === 0 ? 0 : doneBytes / totalBytes, failed: 0, total: 1, words };
}

/** Which hosts a job is for. */
export function targetOf({ spec: { target = {}, keep, parallelism } }: Pick<Job, 'spec'>): string {
  const { role, labels = {}, percentage, hosts } = target;
  const whom = [role === undefined ? 'hosts' : `hosts with the role ${role}`];
  if (Object.keys(labels).length > 0) whom.push(`labelled ${labelsText(labels)}`);
  const many =
    hosts === undefined ? (percentage === undefined ? 'all' : `${percentage} % of`) : String(hosts);
  const parallel = parallelism === undefined ? '' : `, ${parallelism} at a time`;
  return `${many} ${whom.join(' ')}${parallel}${keep === true ? ', and those that come later' : ''}`;
}

/** A list with what is now known of one of its jobs; a new one stands first. `null` where it may stand on another page. */
export function withJob(page: Page<Job>, job: Job, isFirstPage: boolean): Page<Job> | null {
  const index = page.items.findIndex(({ id }) => id === job.id);
  if (index >= 0) return { ...page, items: page.items.with(index, job) };
  const newest = page.items[0];
  const isNew = newest === undefined || job.createdAtMs >= newest.createdAtMs;
  return isFirstPage && isNew ? { ...page, items: [job, ...page.items] } : null;
}
