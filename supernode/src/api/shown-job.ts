import type { Job } from '../jobs/index.ts';
import { type ApiRole, mayDo } from './tokens.ts';

/** A job for who may only look: what stands behind a question mark of a file's URL may be a secret. */
export function shownJob(role: ApiRole, job: Job): Job {
  if (job.spec.kind !== 'get' || mayDo(role, 'operator')) return job;
  return { ...job, spec: { ...job.spec, url: job.spec.url.replace(/\?[^#]*/, '?…') } };
}
