import {
  type Digest,
  DrakkarError,
  type PeerId,
  parseReference,
  type TaskReportMessage,
} from '@drakkar/protocol';
import type { Logger } from 'pino';
import { z } from 'zod';
import { newId } from '../ids.ts';
import {
  ABSENT,
  Collection,
  type Page,
  type PageOptions,
  type StateStore,
  WriteBehind,
} from '../state/index.ts';
import { decodeReport } from './messages.ts';
import { type JobClock, type JobEvents, JobRun, parseTask, type Step } from './run.ts';
import {
  type HostWork,
  hostWorkSchema,
  isEnded,
  type Job,
  type JobSpec,
  jobSchema,
  newJob,
} from './schema.ts';
import type { JobHost } from './select.ts';

/** The hosts, and what they have, as jobs see them. */
export interface JobsCluster {
  hosts(): Iterable<JobHost>;
  host(peer: PeerId): JobHost | undefined;
  awayHosts(): Iterable<JobHost>;
  send(peer: PeerId, task: string, step: Step, job: Job): void;
  cancel(peer: PeerId, task: string): void;
  /** How many of these bytes a host has. */
  haveBytes(peer: PeerId, registry: string, layers: NonNullable<Job['resolved']>['layers']): number;
  findSnapshot(registry: string, root: Digest, platform: string): Job['snapshot'];
}

export interface JobsModules {
  readonly state: StateStore;
  readonly cluster: JobsCluster;
  readonly clock: JobClock;
  readonly log: Logger;
}

export type JobAction = 'cancel' | 'pause' | 'resume' | 'retry';

const TICK_MS = 250;
/** Jobs that have not ended, at most: a job that nobody can do keeps nobody else from theirs. */
const MAX_ACTIVE = 1_000;
/** A request that is made again within so long is the same request. */
const REQUEST_TTL_MS = 24 * 60 * 60_000;
/** How far hosts are is not written each time that they say so. */
const PROGRESS_MS = 1_000;

/** Everything that the cluster has been asked to do, and how far it is. */
export class Jobs implements AsyncDisposable {
  readonly #modules: JobsModules;
  readonly #jobs: Collection<Job>;
  readonly #requests: Collection<string>;
  readonly #writer: WriteBehind;
  readonly #runs = new Map<string, JobRun>();
  readonly #listeners = new Set<(job: Job) => void>();
  readonly #writtenAtMs = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #isDue = false;

  private constructor(modules: JobsModules) {
    this.#modules = modules;
    this.#jobs = new Collection(modules.state, 'jobs', jobSchema);
    this.#requests = new Collection(modules.state, 'requests', z.string());
    this.#writer = new WriteBehind(modules.state);
    this.#timer = setInterval(() => this.#advanceAll(), TICK_MS);
  }

  /** Goes on with what was not done. */
  static async open(modules: JobsModules): Promise<Jobs> {
    const jobs = new Jobs(modules);
    for await (const { value } of jobs.#jobs.all()) if (!isEnded(value)) await jobs.#resume(value);
    return jobs;
  }

  /** Why nothing can be remembered at the moment. */
  get failure(): unknown {
    return this.#writer.failure;
  }

  /** How many have not ended. */
  get active(): number {
    return this.#runs.size;
  }

  /**
   * Remembered when it returns.
   *
   * @param request whoever asks again under the same name gets the same job
   * @throws `busy` while too many have not ended
   */
  async create(spec: JobSpec, by: string, request?: string): Promise<Job> {
    const { state, clock } = this.#modules;
    const known = request === undefined ? undefined : await this.#requests.get(request);
    if (known !== undefined) return await this.get(known.value);
    if (this.#runs.size >= MAX_ACTIVE) {
      throw new DrakkarError('busy', `${this.#runs.size} jobs have not ended yet`, {
        hint: 'cancel some, or wait: `drakkar jobs` lists them',
      });
    }
    const job = newJob(newId(clock.wallMs()), spec, by, clock.wallMs());
    const changes = [this.#jobs.change(job.id, job, { expects: ABSENT })];
    if (request !== undefined)
      changes.push(this.#requests.change(request, job.id, { expects: ABSENT, ttlMs: REQUEST_TTL_MS }));
    if ((await state.commit(changes)) === undefined) return await this.create(spec, by, request);
    this.#begin(job, []);
    return this.#shown(job);
  }

  /** @throws `not_found` */
  async get(id: string): Promise<Job> {
    const job = this.#runs.get(id)?.job ?? (await this.#jobs.get(id))?.value;
    if (job === undefined) throw new DrakkarError('not_found', `there is no job ${id}`);
    return this.#shown(job);
  }

  /** The newest first. */
  async page(options: Omit<PageOptions, 'reverse'>): Promise<Page<Job>> {
    const page = await this.#jobs.page({ ...options, reverse: true });
    const items = page.items.map((item) => ({
      ...item,
      value: this.#shown(this.#runs.get(item.id)?.job ?? item.value),
    }));
    return { ...page, items };
  }

  /** How far each host is, in the order of their peers. @throws `not_found` */
  async hosts(id: string, options: PageOptions): Promise<Page<HostWork>> {
    const rows = this.#runs.get(id)?.rows;
    if (rows === undefined) {
      await this.get(id);
      return await this.#rows(id).page(options);
    }
    const { after = '', limit } = options;
    const peers = [...rows.keys()].sort().filter((peer) => peer > after);
    const items = peers.slice(0, limit).flatMap((peer) => {
      const value = rows.get(peer);
      return value === undefined ? [] : { id: peer, value: { ...value }, revision: 0 };
    });
    return { items, next: peers.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  /** Remembered when it returns. @throws `not_found`; `unsupported` for what it can't be told in its state */
  async act(id: string, action: JobAction, by: string): Promise<Job> {
    const job = await this.get(id);
    const canRetry = job.state === 'failed' || job.state === 'cancelled';
    const can = {
      retry: canRetry,
      cancel: !isEnded(job),
      pause: !isEnded(job),
      resume: job.state === 'paused',
    };
    if (!can[action]) throw new DrakkarError('busy', `${id} is ${job.state}: it can’t ${action}`);
    const run = this.#runs.get(id) ?? (await this.#resume(job));
    if (action === 'cancel') run.cancel(`${by} has cancelled it`);
    else run[action]();
    this.#advance(run);
    await this.#writer.flush();
    return this.#shown(run.job);
  }

  /** @throws `not_found`; `busy` for one that has not ended */
  async remove(id: string): Promise<void> {
    const job = await this.get(id);
    if (!isEnded(job)) throw new DrakkarError('busy', `${id} has not ended`, { hint: 'cancel it first' });
    const rows = this.#rows(id);
    for await (const { id: peer } of rows.all()) this.#writer.put(rows.change(peer, null));
    this.#writer.put(this.#jobs.change(id, null));
    await this.#writer.flush();
  }

  came(host: JobHost): void {
    for (const run of this.#runs.values()) run.came(host);
    this.#advanceSoon();
  }

  /** What hosts say of jobs that are none any more is no reason to do without them. */
  heard(peer: PeerId, report: TaskReportMessage): void {
    try {
      const { job, step, attempt } = parseTask(report.id);
      const run = this.#runs.get(job);
      if (run === undefined) {
        if (report.result === undefined && report.error === undefined)
          this.#modules.cluster.cancel(peer, report.id);
        return;
      }
      run.heard(peer, step, attempt, decodeReport(step, report));
      this.#advanceSoon();
    } catch (error) {
      this.#modules.log.debug({ peer, error }, 'a report of a task is ignored');
    }
  }

  /** Called whenever a job is not what it was. */
  onChange(listener: (job: Job) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#writer[Symbol.asyncDispose]();
  }

  async #resume(job: Job): Promise<JobRun> {
    const rows = (await Array.fromAsync(this.#rows(job.id).all())).map(({ value }) => value);
    return this.#begin(job, rows);
  }

  #begin(job: Job, rows: readonly HostWork[]): JobRun {
    const run: JobRun = new JobRun(
      job,
      rows,
      this.#eventsOf(job, () => run),
      this.#modules.clock,
    );
    this.#runs.set(job.id, run);
    this.#advanceSoon();
    return run;
  }

  #eventsOf(job: Job, run: () => JobRun): JobEvents {
    const { cluster, log } = this.#modules;
    const { spec } = job;
    const registry = 'image' in spec && spec.image !== undefined ? parseReference(spec.image).registry : '';
    return {
      ...{ send: cluster.send, cancel: cluster.cancel },
      ...{ hosts: cluster.hosts, host: cluster.host, awayHosts: cluster.awayHosts },
      changed: (peer) => {
        if (peer !== null) this.#saveRow(run(), peer);
        else this.#saveJob(run());
        if (peer === null && isEnded(job))
          log.info({ job: job.id, state: job.state, reason: job.reason }, 'a job has ended');
      },
      progressed: () => this.#saveProgress(run()),
      more: () => this.#advanceSoon(),
      haveBytes: (peer, { layers }) => cluster.haveBytes(peer, registry, layers),
      findSnapshot: ({ resolved }) =>
        resolved === null ? null : cluster.findSnapshot(registry, resolved.root as Digest, resolved.platform),
      mayBuild: ({ id, resolved }) =>
        ![...this.#runs.values()].some(
          ({ job: other }) =>
            other.id !== id &&
            other.build?.state === 'running' &&
            other.resolved?.manifest === resolved?.manifest,
        ),
    };
  }

  #saveRow({ job, rows }: JobRun, peer: PeerId): void {
    const row = rows.get(peer);
    if (row !== undefined) this.#writer.put(this.#rows(job.id).change(peer, row));
    this.#saveJobSoon(job);
  }

  #saveProgress({ job }: JobRun): void {
    this.#saveJobSoon(job);
  }

  #saveJobSoon(job: Job): void {
    const nowMs = this.#modules.clock.evenMs();
    if (nowMs - (this.#writtenAtMs.get(job.id) ?? 0) < PROGRESS_MS) return;
    this.#writtenAtMs.set(job.id, nowMs);
    this.#writer.put(this.#jobs.change(job.id, job));
    this.#tell(job);
  }

  /** What has ended is remembered for a while, and needs nothing more. */
  #saveJob({ job, rows }: JobRun): void {
    const ttl = isEnded(job) ? { ttlMs: Math.max(1, job.spec.ttlMs) } : {};
    this.#writer.put(this.#jobs.change(job.id, job, ttl));
    this.#tell(job);
    if (!isEnded(job)) return;
    for (const [peer, row] of rows) this.#writer.put(this.#rows(job.id).change(peer, row, ttl));
    this.#runs.delete(job.id);
    this.#writtenAtMs.delete(job.id);
  }

  #tell(job: Job): void {
    for (const listener of this.#listeners) listener(job);
  }

  /** As it is now, whatever becomes of it. */
  #shown(job: Job): Job {
    return structuredClone(job);
  }

  #rows(id: string): Collection<HostWork> {
    return new Collection(this.#modules.state, `job-hosts/${id}`, hostWorkSchema);
  }

  #advanceSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#advanceAll();
    });
  }

  #advanceAll(): void {
    for (const run of [...this.#runs.values()]) this.#advance(run);
  }

  /** A mistake in one job is not the others'. */
  #advance(run: JobRun): void {
    try {
      run.advance();
    } catch (error) {
      this.#modules.log.error({ job: run.job.id, error }, 'a job can’t go on');
      run.cancel('it could not go on: the supernode’s log says why');
    }
  }
}
