import { isEnded, type Job } from '../jobs/index.ts';

export interface RunningJob {
  readonly job: string;
  readonly policy: string;
  /** Of the want that it is for. */
  readonly want: string;
  readonly kind: Job['spec']['kind'];
  /** It is known what the image's name means. */
  isResolved: boolean;
}

/** Jobs of policies that have not ended: one for each want, so no more than jobs may be active. */
export class Running {
  readonly #byWant = new Map<string, RunningJob>();
  readonly #byJob = new Map<string, RunningJob>();

  of(want: string): RunningJob | undefined {
    return this.#byWant.get(want);
  }

  /** How many each policy has. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { policy } of this.#byJob.values()) counts.set(policy, (counts.get(policy) ?? 0) + 1);
    return counts;
  }

  /** Of which wants a policy has some. */
  wantsOf(policy: string): string[] {
    return [...this.#byJob.values()].flatMap((each) => (each.policy === policy ? [each.want] : []));
  }

  add({ id, spec, resolved }: Job, policy: string, want: string): void {
    const running = { job: id, policy, want, kind: spec.kind, isResolved: resolved !== null };
    this.#byJob.set(id, running);
    this.#byWant.set(want, running);
  }

  /** @returns the job, if it was a policy's and has ended */
  changed(job: Job): RunningJob | undefined {
    const running = this.#byJob.get(job.id);
    if (running === undefined) return undefined;
    running.isResolved ||= job.resolved !== null;
    if (!isEnded(job)) return undefined;
    this.#byJob.delete(job.id);
    if (this.#byWant.get(running.want) === running) this.#byWant.delete(running.want);
    return running;
  }
}
