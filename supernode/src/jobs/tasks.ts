import { DrakkarError } from '@drakkar/protocol';
import type { Job, JobError, MeasuredWork, ResolvedImage } from './schema.ts';

/** What a host is at for a job: two that one host does for all, and one that each does. */
export type Step = 'resolve' | 'build' | 'deliver';

/** What a host says of a task. */
export type TaskNews =
  | {
      readonly kind: 'progress';
      readonly phase: string;
      readonly doneBytes: number;
      readonly totalBytes: number;
    }
  | { readonly kind: 'done'; readonly result: TaskOutcome }
  | { readonly kind: 'failed'; readonly error: JobError };

export interface TaskOutcome {
  readonly sizeBytes: number;
  readonly upstreamBytes: number;
  readonly peerBytes: number;
  /** Of the step `resolve`. */
  readonly resolved?: ResolvedImage;
  readonly measured?: MeasuredWork;
  /** Of the step `build`. */
  readonly snapshot?: NonNullable<Job['snapshot']>;
}

/** The same for the same attempt, so that a host knows what it has begun; no number comes a second time. */
export const taskOf = ({ id }: Pick<Job, 'id'>, step: Step, task: number): string => `${id}:${step}:${task}`;

/** @throws `invalid_argument` for what no task is called */
export function parseTask(task: string): {
  readonly job: string;
  readonly step: Step;
  readonly attempt: number;
} {
  const [, job = '', step, attempt] =
    /^([0-9a-z]{26}):(resolve|build|deliver):([1-9][0-9]{0,8})$/.exec(task) ?? [];
  if (job === '') throw new DrakkarError('invalid_argument', 'no task is called so');
  return { job, step: step as Step, attempt: Number(attempt) };
}
