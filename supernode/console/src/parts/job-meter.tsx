import type { Job } from '../documents.ts';
import { progressOf, subjectOf } from '../model/jobs.ts';
import { Meter } from './meter.tsx';

/** How far a job is. */
export function JobMeter({ job }: { readonly job: Job }) {
  const { done, failed, total, words } = progressOf(job);
  const label = `Progress of ${job.spec.kind} ${subjectOf(job)}`;
  return <Meter label={label} share={done / total} badShare={failed / total} words={words} />;
}
