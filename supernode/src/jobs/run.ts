import type { ErrorCode, PeerId } from '@drakkar/protocol';
import { Checks } from './checks.ts';
import type { JobClock, JobEvents } from './contract.ts';
import { type HostWork, isEnded, type Job, type JobError, type JobState, newWork } from './schema.ts';
import { backoffMs, byLot, type JobHost, matches, parallelismOf, select, workers } from './select.ts';
import { type Step, type TaskNews, type TaskOutcome, taskOf } from './tasks.ts';

/** Trying again would come to the same. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'invalid_argument',
  'invalid_content',
  'limit_exceeded',
  'not_found',
  'no_platform',
  'unauthorized',
  'forbidden',
  'unsupported',
]);
/** A host that is to be kept in line is tried for ever, and no less often than this. */
const LAST_KEEP_BACKOFF_MS = 10 * 60_000;
/** Stalled hosts are looked for no more often than this. */
/** So long a host is waited for that is to keep something and is away. */
const KEEP_AWAY_MS = 15_000;
const LOOK_MS = 250;
/** What one host does for all is tried on so many before it is given up. */
const HOSTS_TO_TRY = 3;
/** A snapshot that was just built is announced within so long, also by a host that has much to do: others would be told that there is none. */
const ANNOUNCED_MS = 15_000;

/**
 * One job on its way: what each host is told when, and what comes of it. Without sockets, clocks or disk; what was remembered of it is enough to go on.
 * Call {@link advance} when something may be due.
 */
export class JobRun {
  readonly job: Job;
  readonly rows: Map<PeerId, HostWork>;
  readonly #events: JobEvents;
  readonly #clock: JobClock;
  readonly #waiting = new Set<PeerId>();
  readonly #running = new Set<PeerId>();
  /** When a work may begin, began or made progress. */
  readonly #sinceMs = new WeakMap<HostWork, number>();
  /** What hosts are to be given once that may be. */
  readonly #unsent = new Set<[Step, HostWork]>();
  /** How often hosts were tried for what one of them does for all. */
  readonly #tries = { resolve: new Map<PeerId, number>(), build: new Map<PeerId, number>() };
  /** Since when hosts whose turn it is are away. */
  readonly #missingSinceMs = new Map<PeerId, number>();
  #ordered: readonly PeerId[] = [];
  /** Of a job that keeps. */
  readonly #checks: Checks | undefined;
  #announcedByMs: number | undefined;
  #firstBegunAtMs: number | undefined;
  /** Hosts that were given their part. */
  #begun = 0;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  /** The others may not have the image. */
  #mustBeNear = false;

  constructor(job: Job, rows: Iterable<HostWork>, events: JobEvents, clock: JobClock) {
    this.job = job;
    this.#events = events;
    this.#clock = clock;
    const { spec } = job;
    this.#checks = spec.kind !== 'build' && spec.keep ? new Checks(clock, spec.checkMs) : undefined;
    this.rows = new Map([...rows].map((row) => [row.peer as PeerId, row]));
    Object.assign(job.hosts, { total: 0, waiting: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 });
    Object.assign(job.bytes, { size: 0, upstream: 0, peer: 0 });
    for (const row of this.rows.values()) this.#count(row, 1);
    const works = [job.resolve, job.build, ...this.rows.values()].filter((work) => work !== null);
    for (const work of works) {
      const waitMs = work.state === 'waiting' ? (work.nextAttemptAtMs ?? 0) - clock.wallMs() : 0;
      this.#sinceMs.set(work, clock.evenMs() + Math.max(0, waitMs));
    }
    for (const [step, work] of this.#works()) if (work.state === 'running') this.#sendAgain(step, work);
  }

  /** Whose rows there are, in their order: rows are added, and stay. */
  get peers(): readonly PeerId[] {
    if (this.#ordered.length !== this.rows.size) this.#ordered = [...this.rows.keys()].sort();
    return this.#ordered;
  }

  /** Does what is due. */
  advance(): void {
    const { job } = this;
    if (isEnded(job) || this.#events.isHeld()) return;
    for (const [step, work] of this.#unsent) if (work.state === 'running') this.#sendAgain(step, work);
    this.#unsent.clear();
    const isTimeToLook = this.#clock.evenMs() - this.#lookedAtMs >= LOOK_MS;
    if (isTimeToLook) {
      this.#lookedAtMs = this.#clock.evenMs();
      this.#giveUpStalled();
    }
    if (isEnded(job) || job.state === 'paused') return;
    if (job.state === 'waiting') this.#become('running');
    job.startedAtMs ??= this.#clock.wallMs();
    const due = this.#due();
    if (due === 'resolve') this.#single(due);
    else if (due === 'build') this.#buildOnce();
    else if (due === 'deliver') this.#deliver();
    else if (due === 'nothing more') this.#end('succeeded', null);
  }

  /** A host has come, perhaps once more. */
  came(host: JobHost): void {
    if (isEnded(this.job)) return;
    const { peer } = host;
    const row = this.rows.get(peer);
    this.#missingSinceMs.delete(peer);
    this.#checks?.came(peer);
    const { spec, isSelected, resolve, build } = this.job;
    const works = { resolve, build, deliver: row ?? null };
    for (const [step, work] of Object.entries(works) as [Step, HostWork | null][])
      if (work?.peer === peer && work.state === 'running') this.#sendAgain(step, work);
    if (spec.kind === 'build' || !isSelected || !spec.keep) return;
    if (row?.state === 'failed') this.#wait(row, 0);
    if (row === undefined && this.#isWanted(host)) this.#add(host);
  }

  /** A host may have what is kept no longer. */
  doubt(peer: PeerId): void {
    if (this.rows.get(peer)?.state === 'succeeded') this.#checks?.doubt(peer);
  }

  /** A host is connected no longer. */
  left(peer: PeerId): void {
    this.#checks?.left(peer);
  }

  /** A host says something of a task, which may be one that is none any more. */
  heard(peer: PeerId, step: Step, task: number, news: TaskNews): void {
    const work = step === 'deliver' ? this.rows.get(peer) : this.job[step];
    if (step === 'deliver' && this.#isCheck(work, task)) {
      if (this.#hasStill(work, news)) return;
      this.#lost(work);
    }
    if (work?.peer !== peer || work.state !== 'running' || work.task !== task) {
      if (news.kind === 'progress') this.#events.cancel(peer, taskOf(this.job, step, task));
      return;
    }
    if (news.kind === 'progress') {
      this.#progress(work, news);
      this.#events.progressed();
      return;
    }
    if (news.kind === 'failed') this.#failed(step, work, news.error);
    else if (step === 'deliver' && news.result.sizeBytes === 0 && this.job.spec.kind !== 'evict')
      this.#failed(step, work, NOTHING);
    else this.#done(step, work, news.result);
    this.#changed(step, work);
  }

  pause(): void {
    if (!isEnded(this.job)) this.#become('paused', 'somebody has paused it');
  }

  resume(): void {
    if (this.job.state !== 'paused') return;
    this.#missingSinceMs.clear();
    this.#become('running');
  }

  cancel(reason: string): void {
    if (!isEnded(this.job)) this.#end('cancelled', null, reason);
  }

  /** Begins again with what has not succeeded. */
  retry(): void {
    const { job } = this;
    if (job.state !== 'failed' && job.state !== 'cancelled') return;
    job.error = null;
    job.endedAtMs = null;
    for (const step of ['resolve', 'build'] as const) {
      const work = job[step];
      if (work === null || work.state === 'succeeded') continue;
      Object.assign(work, { attempts: 0, error: null });
      this.#rest(work, 0);
      work.state = 'waiting';
      this.#tries[step].clear();
    }
    this.#mustBeNear = false;
    if (job.hosts.total === 0) job.isSelected = false;
    for (const row of this.rows.values()) {
      if (row.state === 'succeeded') continue;
      row.attempts = 0;
      row.error = null;
      this.#wait(row, 0);
    }
    this.#missingSinceMs.clear();
    this.#become('running');
  }

  *#works(): Generator<[Step, HostWork]> {
    const { resolve, build } = this.job;
    if (resolve !== null) yield ['resolve', resolve];
    if (build !== null) yield ['build', build];
    for (const row of this.rows.values()) yield ['deliver', row];
  }

  #due(): Step | 'announcement' | 'nothing more' {
    const { spec, resolved, snapshot } = this.job;
    if (spec.kind === 'get' || spec.kind === 'evict') return 'deliver';
    if (resolved === null) return 'resolve';
    if (spec.kind === 'preheat' && spec.content === 'layers') return 'deliver';
    if (spec.kind === 'measure' && spec.what === 'pull') return 'deliver';
    if (snapshot === null) return 'build';
    if (spec.kind === 'build') return 'nothing more';
    return this.#isAnnounceDue() ? 'announcement' : 'deliver';
  }

  #single(step: 'resolve' | 'build'): void {
    const { job } = this;
    const work = job[step];
    if (work?.state === 'running' || (work !== null && !this.#isDue(work))) return;
    const { resolved } = job;
    const tries = this.#tries[step];
    const [host] = workers(step === 'build' ? 'builder' : undefined, this.#candidates(step), {
      haveBytes: ({ peer }) => (resolved === null ? 0 : this.#events.haveBytes(peer, resolved, job)),
      tries: ({ peer }) => tries.get(peer) ?? 0,
    });
    this.#say(host === undefined ? 'no host is connected that could do it' : null);
    if (host === undefined) return;
    const { attempts = 0, error = null, task = 0 } = work ?? {};
    const next = { ...newWork(host), attempts, error, task };
    job[step] = next;
    tries.set(host.peer, (tries.get(host.peer) ?? 0) + 1);
    this.#begin(step, next);
  }

  /** Who may do what one does for all: the host that is near alone, where nobody else may have the image or nobody has the role. */
  #candidates(step: 'resolve' | 'build'): Iterable<JobHost> {
    const near = this.#near();
    const host = near === undefined ? undefined : this.#events.host(near);
    const hosts = [...this.#events.hosts()];
    const isAlone = this.#mustBeNear || !hosts.some(({ roles }) => roles.includes('builder'));
    return host !== undefined && isAlone && !this.#tries[step].has(host.peer) ? [host] : hosts;
  }

  /** The host that can have the image, where that is known. */
  #near(): PeerId | undefined {
    const { spec } = this.job;
    return spec.kind === 'build' ? (spec.near as PeerId | undefined) : undefined;
  }

  /** Another host may have what this one may not. */
  #mayElsewhere(step: Step, { code }: JobError): boolean {
    if (step === 'deliver' || (code !== 'unauthorized' && code !== 'forbidden')) return false;
    const tries = this.#tries[step];
    const near = this.#near();
    if (near !== undefined && this.#events.host(near) !== undefined && !tries.has(near)) {
      this.#mustBeNear = true;
      return true;
    }
    const others = [...this.#events.hosts()].some(({ peer, doesTasks }) => doesTasks && !tries.has(peer));
    return others && tries.size < HOSTS_TO_TRY;
  }

  #buildOnce(): void {
    const { job } = this;
    const { spec } = job;
    const mustBuild = spec.kind === 'build' && (spec.rebuild || spec.push);
    const known = mustBuild || job.build?.state === 'running' ? null : this.#events.findSnapshot(job);
    if (known !== null) {
      job.snapshot = known;
      this.#events.changed(null);
      this.advance();
      return;
    }
    // What is measured leaves nothing behind.
    if (spec.kind === 'measure') this.#end('failed', NO_SNAPSHOT);
    else if (this.#events.mayBuild(job)) this.#single('build');
    else this.#say('another job builds the same snapshot');
  }

  /** Hosts would be told that there is no snapshot yet. */
  #isAnnounceDue(): boolean {
    if (this.job.isSelected || this.job.snapshot?.found !== 'built') return false;
    this.#announcedByMs ??= this.#clock.evenMs() + ANNOUNCED_MS;
    return this.#clock.evenMs() < this.#announcedByMs && this.#events.findSnapshot(this.job) === null;
  }

  #deliver(): void {
    const { job } = this;
    const { spec } = job;
    if (spec.kind === 'build') return;
    if (!job.isSelected) this.#select();
    if (isEnded(job)) return;
    const limit = parallelismOf(spec.parallelism, job.hosts.total);
    const room = this.#events.room();
    let begun = 0;
    for (const peer of this.#waiting) {
      if (job.hosts.running >= limit) break;
      if (!this.#isNext()) break;
      if (begun >= room) {
        this.#events.more();
        return;
      }
      const row = this.rows.get(peer);
      if (row === undefined || !this.#isDue(row)) continue;
      if (this.#events.host(peer)?.doesTasks === true) {
        this.#begin('deliver', row);
        begun += 1;
        this.#begun += 1;
      } else if (this.#isMissing(peer)) this.#giveUp(row, AWAY);
    }
    this.#check();
    this.#endIfDone();
  }

  /** Whether one more host may begin, of those that do so one after the other. */
  #isNext(): boolean {
    const { spec } = this.job;
    if (spec.kind !== 'measure' || spec.staggerMs === 0) return true;
    this.#firstBegunAtMs ??= this.#clock.evenMs();
    return this.#clock.evenMs() - this.#firstBegunAtMs >= this.#begun * spec.staggerMs;
  }

  /** Asks hosts that have it whether they still do: it is the same task as before, of which nothing is left to do where they have. */
  #check(): void {
    for (const peer of this.#checks?.due() ?? []) {
      const row = this.rows.get(peer);
      if (row === undefined || this.#events.host(peer)?.doesTasks !== true) continue;
      row.task += 1;
      this.#checks?.ask(peer, row.task);
      this.#events.send(peer, taskOf(this.job, 'deliver', row.task), 'deliver', this.job);
      this.#events.changed(peer);
    }
  }

  #isCheck(work: HostWork | null | undefined, task: number): work is HostWork {
    const isThere = work?.state === 'succeeded' && !isEnded(this.job);
    return isThere && this.#checks?.isAsked(work.peer as PeerId, task) === true;
  }

  /** Whether nothing that was asked says that there is something to do. */
  #hasStill({ peer }: HostWork, news: TaskNews): boolean {
    if (news.kind === 'progress' && (news.phase === '' || news.phase === 'waiting')) {
      this.#checks?.alive(peer as PeerId);
      return true;
    }
    if (news.kind !== 'done') return false;
    const { sizeBytes, upstreamBytes, peerBytes } = news.result;
    const isStill = sizeBytes > 0 && upstreamBytes === 0 && peerBytes === 0;
    if (isStill) this.#checks?.has(peer as PeerId);
    return isStill;
  }

  /** A host that had it is at it once more. */
  #lost(row: HostWork): void {
    Object.assign(row, { attempts: 1, phase: null, doneBytes: 0, totalBytes: 0, endedAtMs: null });
    this.#sinceMs.set(row, this.#clock.evenMs());
    this.#move('deliver', row, 'running');
    this.#events.changed(row.peer as PeerId);
    if (this.job.state === 'keeping') this.#become('running');
  }

  /** Whether a host whose turn it is has been away for too long since then. */
  #isMissing(peer: PeerId): boolean {
    const nowMs = this.#clock.evenMs();
    const sinceMs = this.#missingSinceMs.get(peer) ?? nowMs;
    this.#missingSinceMs.set(peer, sinceMs);
    const { spec } = this.job;
    // Who comes back later gets it then.
    const isKept = spec.kind === 'preheat' && spec.keep;
    return nowMs - sinceMs >= (isKept ? Math.min(spec.stallMs, KEEP_AWAY_MS) : spec.stallMs);
  }

  #select(): void {
    const { job } = this;
    const { spec } = job;
    if (spec.kind === 'build') return;
    const able = [...this.#events.hosts()].filter(({ doesTasks }) => doesTasks);
    // Whoever comes later would be measured alone.
    const away = spec.kind === 'measure' ? [] : this.#events.awayHosts();
    const hosts = select(job.id, spec.target, [...able, ...away]);
    for (const host of spec.target.hosts === undefined ? hosts : hosts.slice(0, spec.target.hosts))
      this.#add(host);
    job.isSelected = true;
    this.#events.changed(null);
    if (job.hosts.total === 0 && !spec.keep) this.#end('failed', NOBODY);
  }

  #isWanted(host: JobHost): boolean {
    const { spec } = this.job;
    if (spec.kind === 'build' || !matches(spec.target, host)) return false;
    const { percentage, hosts } = spec.target;
    if (hosts !== undefined) return this.job.hosts.total - this.job.hosts.failed < hosts;
    if (percentage === undefined) return true;
    const matching = [...this.#events.hosts()].filter((other) => matches(spec.target, other)).length;
    return this.job.hosts.total < Math.ceil((matching * percentage) / 100);
  }

  #add(host: JobHost): void {
    const row = newWork(host);
    this.rows.set(host.peer, row);
    this.#sinceMs.set(row, this.#clock.evenMs());
    this.#count(row, 1);
    this.#events.changed(host.peer);
    if (this.job.state === 'keeping') this.#become('running');
  }

  #begin(step: Step, work: HostWork): void {
    work.attempts += 1;
    work.task += 1;
    work.nextAttemptAtMs = null;
    work.startedAtMs ??= this.#clock.wallMs();
    Object.assign(work, { phase: null, doneBytes: 0, totalBytes: 0 });
    this.#move(step, work, 'running');
    this.#sendAgain(step, work);
    this.#changed(step, work);
  }

  #sendAgain(step: Step, work: HostWork): void {
    this.#sinceMs.set(work, this.#clock.evenMs());
    if (this.#events.isHeld()) this.#unsent.add([step, work]);
    else this.#events.send(work.peer as PeerId, taskOf(this.job, step, work.task), step, this.job);
  }

  #progress(work: HostWork, { phase, doneBytes, totalBytes }: TaskNews & { kind: 'progress' }): void {
    // It does what it was given before.
    const isAlive = phase === 'waiting';
    const isFurther = work.phase !== phase || work.doneBytes !== doneBytes;
    if (isAlive || isFurther || work.phase === null) this.#sinceMs.set(work, this.#clock.evenMs());
    Object.assign(work, { phase, doneBytes, totalBytes });
  }

  #done(step: Step, work: HostWork, result: TaskOutcome): void {
    const { job } = this;
    const { sizeBytes, upstreamBytes, peerBytes } = result;
    if (step === 'deliver') this.#count(work, -1);
    const { measured = null } = result;
    Object.assign(work, { sizeBytes, upstreamBytes, peerBytes, measured, error: null, phase: null });
    work.endedAtMs = this.#clock.wallMs();
    if (step === 'deliver') this.#count(work, 1);
    this.#move(step, work, 'succeeded');
    if (result.resolved !== undefined) job.resolved = result.resolved;
    if (result.snapshot !== undefined) job.snapshot = result.snapshot;
  }

  #failed(step: Step, work: HostWork, error: JobError): void {
    const { spec } = this.job;
    work.error = error;
    if (step === 'deliver' && error.code === 'not_found') this.#missSnapshot();
    const isFinal = FINAL.has(error.code as ErrorCode) || work.attempts >= spec.attempts;
    if (isFinal && !this.#mayElsewhere(step, error)) {
      this.#failedForGood(step, work, error);
      return;
    }
    this.#rest(work, backoffMs(work.attempts, this.#clock.chance()));
    this.#move(step, work, 'waiting');
  }

  #failedForGood(step: Step, work: HostWork, error: JobError): void {
    if (step === 'deliver') {
      this.#giveUp(work, error);
      return;
    }
    const { spec, isSelected } = this.job;
    if (spec.kind !== 'build' && spec.keep && isSelected) {
      // Hosts had it until now: it is tried for ever, too.
      work.attempts = 0;
      this.#tries[step].clear();
      this.#rest(work, LAST_KEEP_BACKOFF_MS * (0.5 + this.#clock.chance() / 2));
      this.#move(step, work, 'waiting');
      this.#say(error.message);
      return;
    }
    this.#move(step, work, 'failed');
    work.endedAtMs = this.#clock.wallMs();
    this.#end('failed', error);
  }

  /** What is to be kept on hosts nobody has any more: it is built again. */
  #missSnapshot(): void {
    const { job } = this;
    const { spec, build } = job;
    if (spec.kind !== 'preheat' || spec.content === 'layers' || !spec.keep || job.snapshot === null) return;
    job.snapshot = null;
    this.#announcedByMs = undefined;
    this.#tries.build.clear();
    if (build !== null && build.state !== 'running') {
      Object.assign(build, { attempts: 0, error: null });
      this.#rest(build, 0);
      this.#move('build', build, 'waiting');
    }
    this.#events.changed(null);
  }

  /** What has not been heard of for too long is begun again, on this host or another. */
  #giveUpStalled(): void {
    const nowMs = this.#clock.evenMs();
    const isStalled = (work: HostWork | null | undefined): work is HostWork =>
      work?.state === 'running' && nowMs - (this.#sinceMs.get(work) ?? 0) >= this.job.spec.stallMs;
    for (const step of ['resolve', 'build'] as const) {
      const work = this.job[step];
      if (isStalled(work)) this.#stalled(step, work);
    }
    for (const peer of this.#running) {
      const row = this.rows.get(peer);
      if (isStalled(row)) this.#stalled('deliver', row);
    }
    for (const peer of this.#checks?.silent(this.job.spec.stallMs) ?? []) {
      const row = this.rows.get(peer);
      if (row !== undefined) this.#lost(row);
    }
  }

  #stalled(step: Step, work: HostWork): void {
    const peer = work.peer as PeerId;
    const isThere = this.#events.host(peer) !== undefined;
    this.#events.cancel(peer, taskOf(this.job, step, work.task));
    this.#failed(step, work, isThere ? STALLED : AWAY);
    this.#changed(step, work);
  }

  #wait(row: HostWork, waitMs: number): void {
    this.#rest(row, waitMs);
    this.#move('deliver', row, 'waiting');
    this.#events.changed(row.peer as PeerId);
  }

  #rest(work: HostWork, waitMs: number): void {
    this.#sinceMs.set(work, this.#clock.evenMs() + waitMs);
    work.nextAttemptAtMs = this.#clock.wallMs() + waitMs;
  }

  /** Nothing more is tried on a host; where it is to be kept in line, not for a while. */
  #giveUp(row: HostWork, error: JobError): void {
    const { job } = this;
    row.error = error;
    row.endedAtMs = this.#clock.wallMs();
    this.#move('deliver', row, 'failed');
    this.#events.changed(row.peer as PeerId);
    if (job.spec.kind === 'build') return;
    const { stopAfterFailures, target, keep } = job.spec;
    if (stopAfterFailures !== null && job.hosts.failed >= stopAfterFailures) {
      this.#end('failed', error, `stopped after ${job.hosts.failed} hosts had failed`);
      return;
    }
    if (keep) {
      this.#rest(row, backoffMs(row.attempts + 1, this.#clock.chance(), LAST_KEEP_BACKOFF_MS));
    }
    if (target.hosts === undefined) return;
    const able = [...this.#events.hosts()].filter(({ doesTasks }) => doesTasks);
    const [next] = byLot(job.id, able).filter((host) => matches(target, host) && !this.rows.has(host.peer));
    if (next !== undefined) this.#add(next);
  }

  #endIfDone(): void {
    const { job } = this;
    const { spec } = job;
    if (spec.kind === 'build') return;
    if (spec.keep) this.#retryKept();
    const { waiting, running, succeeded, failed, total } = job.hosts;
    const wanted = spec.target.hosts;
    const isReached = wanted !== undefined && succeeded >= wanted;
    if (!isReached && (waiting > 0 || running > 0)) return;
    const failures = failed > 0 ? `${failed} of ${total} hosts failed` : null;
    if (spec.keep) {
      if (job.state === 'running') this.#become('keeping', failures);
      return;
    }
    const missed =
      wanted === undefined ? failures : `${succeeded} of ${wanted} hosts have it, and no other can`;
    if (isReached) this.#end('succeeded', null);
    else if (missed !== null) this.#end('failed', this.#firstError(), missed);
    else if (job.bytes.size === 0) this.#end('failed', NOWHERE);
    else this.#end('succeeded', null);
  }

  #firstError(): JobError | null {
    return this.rows.values().find(({ error }) => error !== null)?.error ?? null;
  }

  #retryKept(): void {
    for (const row of this.rows.values()) {
      if (row.state !== 'failed' || !this.#isDue(row) || this.#events.host(row.peer as PeerId) === undefined)
        continue;
      this.#wait(row, 0);
      if (this.job.state === 'keeping') this.#become('running');
    }
  }

  #end(state: JobState, error: JobError | null, reason: string | null = error?.message ?? null): void {
    const { job } = this;
    for (const [step, work] of this.#works()) {
      if (work.state !== 'running' && work.state !== 'waiting') continue;
      if (work.state === 'running') this.#events.cancel(work.peer as PeerId, taskOf(job, step, work.task));
      work.endedAtMs = this.#clock.wallMs();
      this.#move(step, work, 'cancelled');
    }
    // What they have brought hosts keep for each other until then.
    if (job.spec.kind === 'measure')
      for (const row of this.rows.values())
        if (row.state === 'succeeded')
          this.#events.cancel(row.peer as PeerId, taskOf(job, 'deliver', row.task));
    job.error = error;
    job.endedAtMs = this.#clock.wallMs();
    // With it all its hosts are written, too, and after it.
    this.#become(state, reason);
  }

  #become(state: JobState, reason: string | null = null): void {
    this.job.state = state;
    this.job.reason = reason;
    this.#events.changed(null);
  }

  #say(reason: string | null): void {
    if (this.job.reason !== reason) this.#become(this.job.state, reason);
  }

  #isDue(work: HostWork): boolean {
    return this.#clock.evenMs() >= (this.#sinceMs.get(work) ?? 0);
  }

  #move(step: Step, work: HostWork, state: HostWork['state']): void {
    if (step === 'deliver') this.#count(work, -1);
    work.state = state;
    if (step === 'deliver') this.#count(work, 1);
  }

  /** Adds a host to the sums, or takes it out. */
  #count(row: HostWork, by: 1 | -1): void {
    const { hosts, bytes } = this.job;
    hosts.total += by;
    hosts[row.state] += by;
    bytes.size += by * row.sizeBytes;
    bytes.upstream += by * row.upstreamBytes;
    bytes.peer += by * row.peerBytes;
    if (by === 1 && row.state === 'succeeded') this.#checks?.has(row.peer as PeerId);
    else this.#checks?.lost(row.peer as PeerId);
    for (const [state, peers] of [
      ['waiting', this.#waiting],
      ['running', this.#running],
    ] as const) {
      if (by === 1 && row.state === state) peers.add(row.peer as PeerId);
      else peers.delete(row.peer as PeerId);
    }
  }

  #changed(step: Step, work: HostWork): void {
    this.#events.changed(step === 'deliver' ? (work.peer as PeerId) : null);
  }
}

const AWAY: JobError = { code: 'unavailable', message: 'the host is not connected' };
const NO_SNAPSHOT: JobError = {
  code: 'not_found',
  message: 'the cluster has no snapshot of it',
  hint: 'have one built: `drakkar jobs build`',
};
const NOTHING: JobError = { code: 'internal', message: 'the host says that it has nothing of it' };
const NOWHERE: JobError = { code: 'not_found', message: 'no host had anything of it' };
const NOBODY: JobError = { code: 'not_found', message: 'no host is what this is for' };
const STALLED: JobError = { code: 'timeout', message: 'the host made no progress' };
