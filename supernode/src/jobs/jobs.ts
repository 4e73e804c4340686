import {
  type Digest,
  DrakkarError,
  digestOf,
  formatRepository,
  hexOf,
  type PeerId,
  parseReference,
  type TaskReportMessage,
} from '@drakkar/protocol';
import { currentSpan, type Tracing } from '@drakkar/service';
import type { Logger } from 'pino';
import { z } from 'zod';
import { newId } from '../ids.ts';
import {
  ABSENT,
  type Change,
  Collection,
  type Page,
  type PageOptions,
  type StateStore,
  type Stored,
  type WriteBehind,
} from '../state/index.ts';
import type { JobClock, JobEvents } from './contract.ts';
import { decodeReport } from './messages.ts';
import { PACE_MS, Pace } from './pace.ts';
import { JobRun } from './run.ts';
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
import { parseTask, type Step } from './tasks.ts';

/** The hosts, and what they have, as jobs see them. */
export interface JobsCluster {
  hosts(): Iterable<JobHost>;
  host(peer: PeerId): JobHost | undefined;
  awayHosts(): Iterable<JobHost>;
  send(peer: PeerId, task: string, step: Step, job: Job): void;
  cancel(peer: PeerId, task: string): void;
  /** Whether hosts are not to be given anything of it yet. */
  isHeld(job: Job): boolean;
  /** How many of these bytes a host has. */
  haveBytes(peer: PeerId, registry: string, layers: NonNullable<Job['resolved']>['layers']): number;
  findSnapshot(registry: string, root: Digest, platform: string): Job['snapshot'];
}

export interface JobsModules {
  readonly state: StateStore;
  readonly cluster: JobsCluster;
  readonly clock: JobClock;
  readonly writer: WriteBehind;
  readonly log: Logger;
  readonly tracing: Tracing;
  /** Whether what hosts are told now nobody else may tell them otherwise. */
  isSure(): boolean;
}

export interface CreateOptions {
  /** What is written together with the job, or neither is. */
  with?(id: string): Change[];
}

export type JobAction = 'cancel' | 'pause' | 'resume' | 'retry';

const TICK_MS = 250;
const PAGE = 500;
/** Jobs that have not ended, at most, but for those that are counted apart: a job that nobody can do keeps nobody else from theirs. */
const MAX_ACTIVE = 1_000;
/** A request that is made again within so long is the same request. */
const REQUEST_TTL_MS = 24 * 60 * 60_000;
/** Four times a second. */
const MAX_MISHAPS = 1_200;
const HOSTS_PREFIX = 'job-hosts/';
/** How far hosts are is not written each time that they say so. */
const PROGRESS_MS = 1_000;

const requestSchema = z.object({ job: z.string(), spec: z.string() });
type Request = z.output<typeof requestSchema>;

/** Everything that the cluster has been asked to do, and how far it is. */
export class Jobs implements AsyncDisposable {
  readonly #modules: JobsModules;
  readonly #jobs: Collection<Job>;
  readonly #requests: Collection<Request>;
  readonly #writer: WriteBehind;
  readonly #runs = new Map<string, JobRun>();
  /** Runs that have ended and are not all written yet: until then what is written is older. */
  readonly #ended = new Set<string>();
  readonly #resuming = new Map<string, Promise<JobRun>>();
  /** Jobs of which something is to be written that is not pressing. */
  readonly #unwritten = new Set<Job>();
  readonly #due = new Set<JobRun>();
  /** Runs that wait for room to begin more. */
  readonly #paced = new Set<JobRun>();
  readonly #pace = new Pace(performance.now());
  readonly #mishaps = new WeakMap<JobRun, number>();
  readonly #listeners = new Set<(job: Job) => void>();
  readonly #apart = new Map<string, number>();
  readonly #writtenAtMs = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #pacing: NodeJS.Timeout | undefined;
  #isDue = false;

  private constructor(modules: JobsModules) {
    this.#modules = modules;
    const onUnreadable = (key: string, error: unknown) =>
      modules.log.error({ key, error }, 'a job can’t be read, and is left out');
    this.#jobs = new Collection(modules.state, 'jobs', jobSchema, onUnreadable);
    this.#requests = new Collection(modules.state, 'requests', requestSchema);
    this.#writer = modules.writer;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Goes on with what was not done. */
  static async open(modules: JobsModules): Promise<Jobs> {
    const jobs = new Jobs(modules);
    for await (const { value } of jobs.#jobs.all()) if (!isEnded(value)) await jobs.#resume(value);
    await jobs.#sweep();
    return jobs;
  }

  /** How many have not ended. */
  get active(): number {
    return this.#runs.size - this.#ended.size;
  }

  /**
   * Remembered when it returns.
   *
   * @param request whoever asks again under the same name gets the same job
   * @throws `busy` while too many have not ended; `already_exists` where that name was given to another request
   */
  async create(spec: JobSpec, by: string, request?: string, options: CreateOptions = {}): Promise<Job> {
    const { with: more } = options;
    const { state, clock, log } = this.#modules;
    const known = request === undefined ? undefined : await this.#requested(request, spec);
    if (known !== undefined) return known;
    this.#requireRoom(by);
    const resolved = await this.#lastResolved(spec);
    const made = newJob(newId(clock.wallMs()), spec, by, clock.wallMs());
    const job = { ...made, resolved, trace: this.#newTrace() };
    const changes = [this.#jobs.change(job.id, job, { expects: ABSENT }), ...(more?.(job.id) ?? [])];
    if (request !== undefined)
      changes.push(
        this.#requests.change(
          request,
          { job: job.id, spec: hashOf(spec) },
          { expects: ABSENT, ttlMs: REQUEST_TTL_MS },
        ),
      );
    if ((await state.commit(changes)) === undefined) return await this.create(spec, by, request, options);
    log.info({ job: job.id, kind: spec.kind, by }, 'a job was made');
    this.#begin(job, []);
    return this.#shown(job);
  }

  /** Those that this one makes are counted apart from all others: so many that have not ended are too many. */
  countApart(by: string, most: number): void {
    this.#apart.set(by, most);
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

  /** The newest first of those that have not ended. */
  activePage({ after, limit }: Omit<PageOptions, 'reverse'>): Page<Job> {
    const ids = [...this.#runs.keys()].filter(
      (id) => !this.#ended.has(id) && (after === undefined || id < after),
    );
    const shown = ids.sort().reverse().slice(0, limit);
    const items = shown.flatMap((id) => {
      const job = this.#runs.get(id)?.job;
      return job === undefined ? [] : [{ id, value: this.#shown(job), revision: 0 }];
    });
    return { items, next: ids.length > limit ? (shown.at(-1) ?? null) : null };
  }

  /** How far each host is, in the order of their peers. @throws `not_found` */
  async hosts(id: string, options: PageOptions): Promise<Page<HostWork>> {
    const run = this.#runs.get(id);
    if (run === undefined) {
      const { state } = await this.get(id);
      const page = await this.#rows(id).page(options);
      // Where a crash came between the job's end and its hosts'.
      const ended = ({ value, ...item }: Stored<HostWork>) =>
        isOpen(value) ? { ...item, value: { ...value, state: 'cancelled' as const } } : { ...item, value };
      return isEnded({ state }) ? { ...page, items: page.items.map(ended) } : page;
    }
    const { after = '', limit } = options;
    const { peers, rows } = run;
    const found = peers.findIndex((peer) => peer > after);
    const from = found < 0 ? peers.length : found;
    const items = peers.slice(from, from + limit).flatMap((peer) => {
      const value = rows.get(peer);
      return value === undefined ? [] : { id: peer, value: { ...value }, revision: 0 };
    });
    return { items, next: peers.length > from + limit ? (items.at(-1)?.id ?? null) : null };
  }

  /** Remembered when it returns. @throws `not_found`; `busy` for what it can't be told in its state */
  async act(id: string, action: JobAction, by: string): Promise<Job> {
    const job = await this.get(id);
    const canRetry = job.state === 'failed' || job.state === 'cancelled';
    const can = {
      retry: canRetry,
      cancel: !isEnded(job),
      pause: !isEnded(job),
      resume: job.state === 'paused',
    };
    if (!can[action]) {
      const verb = job.state === 'succeeded' || job.state === 'failed' ? 'has' : 'is';
      throw new DrakkarError('busy', `job ${id} ${verb} ${job.state}: there is nothing to ${action}`);
    }
    const run = this.#runs.get(id) ?? (await this.#resume(job));
    this.#ended.delete(id);
    if (action === 'retry') run.job.trace = this.#newTrace();
    if (action === 'cancel') run.cancel(`${by} has cancelled it`);
    else run[action]();
    if (action === 'retry') for (const peer of run.rows.keys()) this.#saveRow(run, peer);
    this.#advance(run);
    await this.#writer.flush();
    return this.#shown(run.job);
  }

  /** @throws `not_found`; `busy` for one that has not ended */
  async remove(id: string): Promise<void> {
    const job = await this.get(id);
    if (!isEnded(job)) throw new DrakkarError('busy', `${id} has not ended`, { hint: 'cancel it first' });
    // All that is said of it is written before it goes.
    await this.#writer.flush();
    this.#runs.delete(id);
    this.#ended.delete(id);
    this.#writtenAtMs.delete(id);
    const rows = this.#rows(id);
    for await (const { id: peer } of rows.all()) this.#writer.put(rows.change(peer, null));
    this.#writer.put(this.#jobs.change(id, null));
    await this.#writer.flush();
  }

  /** How far hosts are with a job that has not ended, as it is at the moment. */
  *works(id: string): Generator<HostWork> {
    yield* this.#runs.get(id)?.rows.values() ?? [];
  }

  /** Those that have not ended, as they are at the moment. */
  *running(): Generator<Job> {
    for (const { job } of this.#runs.values()) if (!isEnded(job)) yield job;
  }

  came(host: JobHost): void {
    for (const run of this.#runs.values()) {
      run.came(host);
      this.#advanceSoon(run);
    }
  }

  left(peer: PeerId): void {
    for (const run of this.#runs.values()) run.left(peer);
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
      this.#advanceSoon(run);
      if (run.job.spec.kind === 'evict' && report.result !== undefined) this.#doubt(peer, run.job.spec.image);
    } catch (error) {
      this.#modules.log.debug({ peer, error }, 'a report of a task is ignored');
    }
  }

  /** What a host has given up other jobs may keep there. */
  #doubt(peer: PeerId, image: string | undefined): void {
    const repository = image === undefined ? undefined : formatRepository(parseReference(image));
    for (const run of this.#runs.values()) {
      const { spec } = run.job;
      if (spec.kind !== 'preheat' || !spec.keep) continue;
      if (repository === undefined || formatRepository(parseReference(spec.image)) === repository)
        run.doubt(peer);
    }
  }

  /** Called whenever a job is not what it was. */
  onChange(listener: (job: Job) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#pacing);
    await this.#writer.flush().catch(() => {});
  }

  /** The job that was made for a request, as long as there is one. */
  async #requested(request: string, spec: JobSpec): Promise<Job | undefined> {
    const known = await this.#requests.get(request);
    if (known === undefined) return undefined;
    if (known.value.spec !== hashOf(spec)) {
      throw new DrakkarError('already_exists', 'another request has had this name', {
        hint: 'give each request a requestId of its own',
      });
    }
    const job = this.#runs.get(known.value.job)?.job ?? (await this.#jobs.get(known.value.job))?.value;
    if (job !== undefined) return this.#shown(job);
    await this.#requests.remove(request);
    return undefined;
  }

  /** What an image that is to be taken away meant when a job last brought it: no registry is needed for that. */
  async #lastResolved(spec: JobSpec): Promise<Job['resolved']> {
    if (spec.kind !== 'evict' || spec.image === undefined) return null;
    for (let after: string | null | undefined; after !== null; ) {
      const page: Page<Job> = await this.page({ after, limit: PAGE });
      for (const { value } of page.items)
        if ('image' in value.spec && value.spec.image === spec.image && value.resolved !== null)
          return value.resolved;
      after = page.next;
    }
    return null;
  }

  /** What a crash has left of hosts' parts in jobs that are none any more. */
  async #sweep(): Promise<void> {
    const { state } = this.#modules;
    for (let after: string | undefined; ; ) {
      const [entry] = await state.list(HOSTS_PREFIX, { after, limit: 1 });
      if (entry === undefined) return;
      const [id = ''] = entry.key.slice(HOSTS_PREFIX.length).split('/');
      if ((await state.get(this.#jobs.prefix + id)) === undefined) {
        const rows = this.#rows(id);
        for await (const { id: peer } of rows.all()) this.#writer.put(rows.change(peer, null));
      }
      after = `${HOSTS_PREFIX}${id}/~`;
    }
  }

  /** Once, however many want it. */
  async #resume(job: Job): Promise<JobRun> {
    const resuming = this.#resuming.get(job.id) ?? this.#load(job);
    this.#resuming.set(job.id, resuming);
    try {
      return await resuming;
    } finally {
      this.#resuming.delete(job.id);
    }
  }

  /** @throws `busy` */
  #requireRoom(by: string): void {
    const most = this.#apart.get(by);
    let active = 0;
    for (const [id, { job }] of this.#runs) {
      const isCounted = most === undefined ? !this.#apart.has(job.createdBy) : job.createdBy === by;
      if (isCounted && !this.#ended.has(id)) active += 1;
    }
    if (active < (most ?? MAX_ACTIVE)) return;
    throw new DrakkarError('busy', `${active} jobs have not ended yet`, {
      hint: 'cancel some, or wait: `drakkar jobs` lists them',
    });
  }

  async #load(job: Job): Promise<JobRun> {
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
    this.#advanceSoon(run);
    return run;
  }

  #eventsOf(job: Job, run: () => JobRun): JobEvents {
    const { cluster } = this.#modules;
    const { spec } = job;
    const registry = 'image' in spec && spec.image !== undefined ? parseReference(spec.image).registry : '';
    return {
      send: (...task) => {
        this.#pace.begun();
        cluster.send(...task);
      },
      cancel: cluster.cancel,
      isHeld: () => cluster.isHeld(job),
      room: () => this.#pace.room(performance.now()),
      ...{ hosts: cluster.hosts, host: cluster.host, awayHosts: cluster.awayHosts },
      changed: (peer) => {
        if (peer !== null) this.#saveRow(run(), peer);
        else this.#saveJob(run());
        if (peer === null && isEnded(job)) this.#tellEnd(job);
      },
      progressed: () => this.#saveJobSoon(job),
      more: () => this.#advanceLater(run()),
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

  /** In the trace of who asks for it; it goes on when they have their answer, and when the supernode was started anew. */
  #newTrace(): NonNullable<Job['trace']> {
    const { tracing, clock } = this.#modules;
    const asked = currentSpan()?.context;
    return { ...tracing.place(asked), parentSpanId: asked?.spanId ?? null, sinceMs: clock.wallMs() };
  }

  #within({ trace }: Job, work: () => void): void {
    this.#modules.tracing.within(trace ?? undefined, work);
  }

  #tellEnd(job: Job): void {
    const { tracing, log } = this.#modules;
    const { id, spec, state, reason, error, trace, endedAtMs } = job;
    this.#within(job, () => log.info({ job: id, state, reason }, 'a job has ended'));
    if (trace === null || endedAtMs === null) return;
    tracing.record({
      ...{ name: `job ${spec.kind}`, kind: 'internal', context: trace, attributes: { job: id, state } },
      ...{ parentSpanId: trace.parentSpanId ?? undefined, startedAtMs: trace.sinceMs, endedAtMs },
      errorCode: error?.code,
    });
  }

  #saveRow({ job, rows }: JobRun, peer: PeerId): void {
    const row = rows.get(peer);
    if (row !== undefined) this.#writer.put(this.#rows(job.id).change(peer, row));
    this.#saveJobSoon(job);
  }

  #saveJobSoon(job: Job): void {
    this.#unwritten.add(job);
  }

  /** What has ended is remembered for a while, and needs nothing more. */
  #saveJob({ job, rows }: JobRun): void {
    const ttl = isEnded(job) ? { ttlMs: Math.max(1, job.spec.ttlMs) } : {};
    this.#writer.put(this.#jobs.change(job.id, job, ttl));
    this.#unwritten.delete(job);
    this.#tell(job);
    if (!isEnded(job)) return;
    for (const [peer, row] of rows) this.#writer.put(this.#rows(job.id).change(peer, row, ttl));
    this.#ended.add(job.id);
  }

  #tick(): void {
    const nowMs = this.#modules.clock.evenMs();
    for (const job of this.#unwritten) {
      if (nowMs - (this.#writtenAtMs.get(job.id) ?? 0) < PROGRESS_MS) continue;
      this.#writtenAtMs.set(job.id, nowMs);
      this.#unwritten.delete(job);
      if (isEnded(job)) continue;
      this.#writer.put(this.#jobs.change(job.id, job));
      this.#tell(job);
    }
    for (const id of this.#ended) {
      if (this.#writer.isPending(this.#jobs.prefix + id)) continue;
      this.#ended.delete(id);
      this.#runs.delete(id);
      this.#writtenAtMs.delete(id);
    }
    for (const run of [...this.#runs.values()]) this.#advance(run);
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

  #advanceSoon(run: JobRun): void {
    this.#due.add(run);
    if (this.#isDue) return;
    this.#isDue = true;
    const dueMs = performance.now();
    setImmediate(() => {
      this.#isDue = false;
      this.#pace.lagged(performance.now() - dueMs);
      const due = [...this.#due];
      this.#due.clear();
      for (const each of due) this.#advance(each);
    });
  }

  #advanceLater(run: JobRun): void {
    this.#paced.add(run);
    this.#pacing ??= setTimeout(() => {
      this.#pacing = undefined;
      for (const each of this.#paced) this.#advanceSoon(each);
      this.#paced.clear();
    }, PACE_MS);
  }

  /** A mistake in one job is not the others'; and what can't be done now may be in a moment. */
  #advance(run: JobRun): void {
    if (!this.#modules.isSure()) return;
    try {
      run.advance();
      this.#mishaps.delete(run);
    } catch (error) {
      const mishaps = (this.#mishaps.get(run) ?? 0) + 1;
      this.#mishaps.set(run, mishaps);
      const { job } = run;
      if (mishaps === 1)
        this.#within(job, () => this.#modules.log.error({ job: job.id, error }, 'a job can’t go on'));
      if (mishaps > MAX_MISHAPS) run.cancel('it could not go on: the supernode’s log says why');
    }
  }
}

const isOpen = ({ state }: HostWork): boolean => state === 'waiting' || state === 'running';

/** Whether two requests are for the same. */
const hashOf = (spec: JobSpec): string => hexOf(digestOf(JSON.stringify(spec)));
