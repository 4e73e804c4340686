import { DrakkarError } from '@drakkar/protocol';
import { currentSpan } from '@drakkar/service';
import { newId } from '../../../src/ids.ts';
import { isEnded, type Job, type JobSpec, type JobState, newJob } from '../../../src/jobs/index.ts';
import type { PoliciesModules } from '../../../src/policies/index.ts';

/** Jobs as policies see them, that go on when they are told to. */
export class FakeJobs {
  readonly all: Job[] = [];
  isBusy = false;
  /** For which each was made. */
  readonly traces: (string | undefined)[] = [];
  readonly #nowMs: () => number;
  readonly #requests = new Map<string, Job>();
  readonly #listeners = new Set<(job: Job) => void>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get active(): Job[] {
    return this.all.filter((job) => !isEnded(job));
  }

  get images(): string[] {
    return this.all.map(({ spec }) => `${spec.kind} ${'image' in spec ? spec.image : ''}`);
  }

  readonly modules: PoliciesModules['jobs'] = {
    create: async (spec: JobSpec, by: string, request?: string) => {
      const known = this.#requests.get(request ?? '');
      if (known !== undefined) return structuredClone(known);
      if (this.isBusy) throw new DrakkarError('busy', 'too many jobs');
      const job = newJob(newId(this.#nowMs()), spec, by, this.#nowMs());
      this.all.push(job);
      this.traces.push(currentSpan()?.context.traceId);
      if (request !== undefined) this.#requests.set(request, job);
      return structuredClone(job);
    },
    get: async (id) => {
      const job = this.all.find((job) => job.id === id);
      if (job === undefined) throw new DrakkarError('not_found', 'there is no such job');
      return structuredClone(job);
    },
    page: async ({ after, limit }) => {
      const newest = [...this.all].reverse();
      const from = newest.findIndex(({ id }) => id === after) + 1;
      const items = newest
        .slice(from, from + limit)
        .map((job) => ({ id: job.id, value: structuredClone(job), revision: 1 }));
      return { items, next: from + limit < newest.length ? (items.at(-1)?.id ?? null) : null };
    },
    onChange: (listener) => {
      this.#listeners.add(listener);
      return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
    },
  };

  resolve(job: Job | undefined): void {
    if (job === undefined) throw new Error('there is no such job');
    const root = `sha256:${'0'.repeat(64)}`;
    job.resolved = { root, manifest: root, platform: 'linux/amd64', layers: [] };
    this.#tell(job);
  }

  end(job: Job | undefined, state: JobState = 'succeeded'): void {
    if (job === undefined) throw new Error('there is no such job');
    job.state = state;
    job.endedAtMs = this.#nowMs();
    this.#tell(job);
  }

  #tell(job: Job): void {
    for (const listener of this.#listeners) listener(job);
  }
}
