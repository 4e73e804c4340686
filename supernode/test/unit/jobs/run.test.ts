import { digestOf, type PeerId } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JobEvents } from '../../../src/jobs/contract.ts';
import { JobRun } from '../../../src/jobs/run.ts';
import {
  isEnded,
  type Job,
  jobSchema,
  jobSpecSchema,
  newJob,
  type RawJobSpec,
} from '../../../src/jobs/schema.ts';
import type { JobHost } from '../../../src/jobs/select.ts';
import { parseTask, type Step, type TaskNews } from '../../../src/jobs/tasks.ts';

const IMAGE = 'registry.example/app:1';
const ID = '01jdx0000000000000000000zz'.replaceAll('u', 'v');
const RESOLVED = {
  root: digestOf('index'),
  manifest: digestOf('manifest'),
  platform: 'linux/amd64',
  layers: [{ digest: digestOf('layer'), sizeBytes: 100 }],
};
const SNAPSHOT = { layout: digestOf('meta'), sizeBytes: 60, found: 'built' };
const MOVED = { sizeBytes: 60, upstreamBytes: 0, peerBytes: 60 };

interface Sent {
  readonly peer: PeerId;
  readonly step: Step;
  readonly attempt: number;
}

/** Hosts that do what they are told, or not, when the test says so. */
class World implements JobEvents {
  readonly connected = new Map<PeerId, JobHost>();
  readonly away: JobHost[] = [];
  readonly tasks = new Map<string, Sent>();
  readonly cancelled: string[] = [];
  readonly ended = new Set<string>();
  known: Job['snapshot'] = null;
  mayBuildNow = true;
  isHeldNow = false;
  nowMs = 0;
  run: JobRun;

  constructor(spec: RawJobSpec, hosts: readonly Partial<JobHost>[]) {
    for (const host of hosts) this.connect(host);
    this.run = this.#runOf(newJob(ID, jobSpecSchema.parse(spec), 'test', 0), []);
  }

  connect(host: Partial<JobHost>): JobHost {
    const peer = (host.peer ?? `peer-${this.connected.size}`) as PeerId;
    const complete = { peer, name: `host of ${peer}`, labels: {}, roles: [], doesTasks: true, ...host };
    this.connected.set(peer, complete);
    this.run?.came(complete);
    return complete;
  }

  /** What a supernode that begins anew knows of it: what was written. */
  restart(): void {
    const written = jobSchema.parse(JSON.parse(JSON.stringify(this.run.job)));
    this.tasks.clear();
    this.run = this.#runOf(written, JSON.parse(JSON.stringify([...this.run.rows.values()])));
  }

  #runOf(job: Job, rows: readonly never[]): JobRun {
    return new JobRun(job, rows, this, {
      wallMs: () => 1_000_000 + this.nowMs,
      evenMs: () => this.nowMs,
      chance: () => 0.5,
    });
  }

  send(peer: PeerId, task: string): void {
    // A host would say again how that ended.
    expect(this.ended).not.toContain(`${peer} ${task}`);
    if (this.connected.has(peer)) this.tasks.set(`${peer} ${task}`, { peer, ...parseTask(task) });
  }
  cancel(peer: PeerId, task: string): void {
    this.tasks.delete(`${peer} ${task}`);
    this.cancelled.push(`${peer} ${task}`);
  }
  changed(): void {}
  progressed(): void {}
  more(): void {}

  room(): number {
    return 25;
  }
  hosts = () => this.connected.values();
  host = (peer: PeerId) => this.connected.get(peer);
  awayHosts = () => this.away;
  isHeld = () => this.isHeldNow;
  haveBytes = (_: PeerId) => 0;
  findSnapshot = () => this.known;
  mayBuild = () => this.mayBuildNow;

  advance(ms = 0): void {
    this.nowMs += ms;
    this.run.advance();
  }

  at(step: Step): PeerId[] {
    return [...this.tasks.values()].filter((task) => task.step === step).map(({ peer }) => peer);
  }

  say(task: Sent, news: TaskNews): void {
    for (const [name, { peer, step, attempt }] of this.tasks)
      if (peer === task.peer && step === task.step && attempt === task.attempt && news.kind !== 'progress')
        this.end(name);
    this.run.heard(task.peer, task.step, task.attempt, news);
    this.run.advance();
  }

  end(name: string): void {
    this.tasks.delete(name);
    this.ended.add(name);
  }

  succeed(task: Sent): void {
    const more = { resolve: { resolved: RESOLVED }, build: { snapshot: SNAPSHOT }, deliver: {} }[task.step];
    if (task.step === 'build') this.known = { ...SNAPSHOT, found: 'cluster' };
    this.say(task, { kind: 'done', result: { ...MOVED, ...more } });
  }

  fail(task: Sent, code = 'unavailable'): void {
    this.say(task, { kind: 'failed', error: { code: code as 'unavailable', message: 'no' } });
  }

  get tasksNow(): Sent[] {
    return [...this.tasks.values()];
  }

  /** Everything that is asked for succeeds. */
  finish(): void {
    this.advance();
    for (let rounds = 0; rounds < 100 && this.tasks.size > 0; rounds += 1)
      for (const task of this.tasksNow) this.succeed(task);
  }
}

const HOSTS = Array.from({ length: 10 }, () => ({}));
const preheat = (more: object = {}): RawJobSpec => ({
  kind: 'preheat',
  image: IMAGE,
  content: 'layers',
  ...more,
});

describe('a job', () => {
  test('finds out what the name means, builds, and has every host fetch it', () => {
    const world = new World(preheat({ content: 'snapshot' }), [
      ...HOSTS,
      { roles: ['builder'], peer: 'b' as PeerId },
    ]);
    world.advance();
    expect(world.at('resolve')).toHaveLength(1);
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('build')).toEqual(['b']);
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('deliver')).toHaveLength(11);
    world.finish();
    expect(world.run.job).toMatchObject({
      state: 'succeeded',
      hosts: { total: 11, succeeded: 11 },
      bytes: { peer: 660 },
    });
  });

  test('builds nothing where there is a snapshot, and nothing that another one builds', () => {
    const world = new World({ kind: 'build', image: IMAGE }, HOSTS);
    world.mayBuildNow = false;
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'running', reason: 'another job builds the same snapshot' });
    world.known = SNAPSHOT;
    world.advance();
    expect(world.run.job).toMatchObject({ state: 'succeeded', build: null, snapshot: SNAPSHOT });
  });

  test('has another builder go on where one fails or is gone', () => {
    const builders = ['b1', 'b2', 'b3'].map((peer) => ({ peer: peer as PeerId, roles: ['builder'] }));
    const world = new World({ kind: 'build', image: IMAGE }, builders);
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    const [first] = world.tasksNow as [Sent];
    world.fail(first);
    world.advance(2_000);
    const [second] = world.tasksNow as [Sent];
    world.connected.delete(second.peer);
    world.tasks.clear();
    world.advance(120_000);
    world.advance(4_000);
    const [third] = world.tasksNow as [Sent];
    expect(new Set([first.peer, second.peer, third.peer]).size).toBe(3);
    world.succeed(third);
    expect(world.run.job.state).toBe('succeeded');
  });

  test('has the host that pulled it build what no other may have', () => {
    const near = { peer: 'near' as PeerId };
    const builder = { peer: 'b' as PeerId, roles: ['builder'] };
    const alone = new World({ kind: 'build', image: IMAGE, near: 'near' }, [...HOSTS, near]);
    alone.advance();
    alone.succeed(alone.tasksNow[0] as Sent);
    expect(alone.run.job.build?.state).toBe('running');
    const world = new World({ kind: 'build', image: IMAGE, near: 'near' }, [...HOSTS, near, builder]);
    world.advance();
    const [first] = world.tasksNow as [Sent];
    expect(first.peer).not.toBe('near');
    world.fail(first, 'unauthorized');
    world.advance(1_000);
    expect(world.at('resolve')).toEqual(['near']);
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('build')).toEqual(['near']);
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.run.job).toMatchObject({ state: 'succeeded' });
  });

  test('tries again what may work later, with growing pauses, and not what can’t', () => {
    const world = new World(preheat({ attempts: 3 }), HOSTS.slice(0, 2));
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    const [one, other] = world.tasksNow as [Sent, Sent];
    world.fail(one);
    world.fail(other, 'forbidden');
    expect(world.tasks.size).toBe(0);
    world.advance(1_000);
    world.fail(world.tasksNow[0] as Sent);
    world.advance(1_000);
    expect(world.tasks.size).toBe(0);
    world.advance(1_000);
    world.fail(world.tasksNow[0] as Sent);
    expect(world.run.job).toMatchObject({ state: 'failed', reason: '2 of 2 hosts failed' });
    expect(world.run.rows.get(other.peer)).toMatchObject({
      state: 'failed',
      attempts: 1,
      error: { code: 'forbidden' },
    });
    world.run.retry();
    world.finish();
    expect(world.run.job).toMatchObject({
      state: 'succeeded',
      error: null,
      hosts: { failed: 0, succeeded: 2 },
    });
  });

  test('stops the rollout after as many failures as were allowed', () => {
    const world = new World(preheat({ stopAfterFailures: 2, attempts: 1, parallelism: 3 }), HOSTS);
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('deliver')).toHaveLength(3);
    for (const task of world.tasksNow.slice(0, 2)) world.fail(task);
    expect(world.run.job).toMatchObject({ state: 'failed', hosts: { failed: 2, cancelled: 8 } });
    expect(world.tasks.size).toBe(0);
  });

  test('has a percentage of hosts do it, and a percentage of those at a time', () => {
    const world = new World(preheat({ target: { percentage: 45 }, parallelism: '40%' }), HOSTS);
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.run.job.hosts.total).toBe(5);
    expect(world.at('deliver')).toHaveLength(2);
  });

  test('is done when so many hosts have it, whichever', () => {
    const world = new World(preheat({ target: { hosts: 3 }, attempts: 1 }), HOSTS);
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('deliver')).toHaveLength(3);
    world.fail(world.tasksNow[0] as Sent);
    expect(world.at('deliver')).toHaveLength(3);
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'succeeded', hosts: { succeeded: 3, failed: 1 } });
  });

  test('is for hosts with a role and labels alone, and no success where there are none', () => {
    const target = { role: 'seed', labels: { zone: 'a' } } as const;
    const seeds = [
      { roles: ['seed'], labels: { zone: 'a' } },
      { roles: ['seed'], labels: { zone: 'b' } },
    ];
    const world = new World(preheat({ target }), [...HOSTS, ...seeds]);
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'succeeded', hosts: { total: 1 } });
    const none = new World(preheat({ target }), HOSTS);
    none.finish();
    expect(none.run.job).toMatchObject({ state: 'failed', error: { code: 'not_found' } });
  });

  test('is no success where a host has nothing, or none had anything to give up', () => {
    const world = new World(preheat({ attempts: 1 }), HOSTS.slice(0, 1));
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    world.say(world.tasksNow[0] as Sent, { kind: 'done', result: { ...MOVED, sizeBytes: 0 } });
    expect(world.run.job.state).toBe('failed');
    const evict = new World({ kind: 'evict', digest: RESOLVED.root }, HOSTS.slice(0, 1));
    evict.advance();
    evict.say(evict.tasksNow[0] as Sent, { kind: 'done', result: { ...MOVED, sizeBytes: 0 } });
    expect(evict.run.job).toMatchObject({ state: 'failed', error: { code: 'not_found' } });
  });

  test('gives up a host that makes no progress, and not one that takes long', () => {
    const world = new World(preheat({ stallMs: 10_000, attempts: 1 }), HOSTS.slice(0, 2));
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    const [slow, stuck] = world.tasksNow as [Sent, Sent];
    for (let seconds = 5; seconds <= 60; seconds += 5) {
      for (const task of [slow, stuck]) {
        const doneBytes = task === slow ? seconds : 1;
        world.run.heard(task.peer, 'deliver', 1, {
          kind: 'progress',
          phase: 'download',
          doneBytes,
          totalBytes: 99,
        });
      }
      world.advance(5_000);
    }
    expect(world.run.rows.get(stuck.peer)).toMatchObject({ state: 'failed', error: { code: 'timeout' } });
    world.succeed(slow);
    expect(world.run.rows.get(slow.peer)?.state).toBe('succeeded');
  });

  test('waits for a host that was there not long ago, and not for ever', () => {
    const world = new World(preheat({ stallMs: 10_000 }), HOSTS.slice(0, 1));
    const away = { peer: 'away' as PeerId, name: 'away', labels: {}, roles: [], doesTasks: true };
    world.away.push(away, { ...away, peer: 'gone' as PeerId });
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'running', hosts: { waiting: 2 } });
    world.connect(away);
    world.finish();
    world.advance(10_000);
    expect(world.run.job).toMatchObject({ state: 'failed', hosts: { succeeded: 2, failed: 1 } });
    expect(world.run.rows.get('gone' as PeerId)?.error).toMatchObject({ code: 'unavailable' });
  });

  test('that keeps goes on with hosts that come, and with those that failed', () => {
    const world = new World(preheat({ keep: true, attempts: 1, target: { labels: { pool: 'web' } } }), []);
    world.connect({ labels: {} });
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { total: 0 } });
    world.connect({ labels: { pool: 'web' } });
    world.advance();
    world.fail(world.tasksNow[0] as Sent, 'no_space');
    expect(world.run.job).toMatchObject({ state: 'keeping', reason: '1 of 1 hosts failed' });
    world.advance(60_000);
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'keeping', reason: null, hosts: { succeeded: 1 } });
    world.run.cancel('enough');
    expect(world.run.job).toMatchObject({ state: 'cancelled', reason: 'enough', hosts: { succeeded: 1 } });
  });

  test('that keeps does not wait long for a host that is away, and brings it in line when it is back', () => {
    const world = new World(preheat({ keep: true }), [{}]);
    const gone = { peer: 'gone' as PeerId, name: 'gone', labels: {}, roles: [], doesTasks: true };
    world.away.push(gone);
    world.finish();
    expect(world.run.job.state).toBe('running');
    world.advance(20_000);
    expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { succeeded: 1, failed: 1 } });
    world.connect(gone);
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { succeeded: 2 } });
  });

  describe('that keeps', () => {
    const EVERY_MS = 60_000;
    const THERE = { sizeBytes: 60, upstreamBytes: 0, peerBytes: 0 };
    const keeping = (hosts: number, more: object = {}) => {
      const world = new World(preheat({ keep: true, checkMs: EVERY_MS, ...more }), Array(hosts).fill({}));
      world.finish();
      expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { succeeded: hosts } });
      return world;
    };
    const leave = (world: World, peer: PeerId) => {
      const host = world.connected.get(peer);
      world.connected.delete(peer);
      world.run.left(peer);
      return host as JobHost;
    };

    test('asks hosts now and then whether they still have it, and says nothing where they do', () => {
      const world = keeping(40);
      const before = structuredClone(world.run.job);
      world.advance(EVERY_MS / 2);
      expect(world.tasks.size).toBe(0);
      world.advance(EVERY_MS / 2);
      expect(world.tasks.size).toBe(25);
      for (let asked = 0; asked < 40; world.advance(250))
        for (const task of world.tasksNow) {
          world.say(task, { kind: 'progress', phase: '', doneBytes: 0, totalBytes: 0 });
          world.say(task, { kind: 'done', result: THERE });
          asked += 1;
        }
      expect(world.run.job).toEqual(before);
      expect(world.tasks.size).toBe(0);
      expect([...world.run.rows.values()].map(({ task }) => task)).toEqual(Array(40).fill(2));
    });

    test('brings a host in line again that has lost it', () => {
      const world = keeping(2);
      world.advance(EVERY_MS);
      const [lost, there] = world.tasksNow as [Sent, Sent];
      world.say(there, { kind: 'done', result: THERE });
      world.say(lost, { kind: 'progress', phase: 'download', doneBytes: 1, totalBytes: 60 });
      expect(world.run.job).toMatchObject({ state: 'running', hosts: { succeeded: 1, running: 1 } });
      world.say(lost, { kind: 'done', result: MOVED });
      expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { succeeded: 2 } });
      // So quickly that nobody has seen it.
      world.advance(EVERY_MS);
      world.succeed(world.tasksNow[0] as Sent);
      expect(world.run.job).toMatchObject({ hosts: { succeeded: 2 }, bytes: { peer: 120 } });
    });

    test('asks one that comes back soon, and those that come to a supernode that has just begun later', () => {
      const world = keeping(3, { checkMs: undefined });
      const [first] = [...world.run.rows.keys()] as [PeerId];
      const host = leave(world, first);
      world.advance(1_000);
      expect(world.tasks.size).toBe(0);
      world.connect(host);
      world.advance(250);
      expect(world.at('deliver')).toEqual([first]);
      world.say(world.tasksNow[0] as Sent, { kind: 'done', result: THERE });
      world.restart();
      for (const each of [...world.connected.values()]) world.connect(each);
      world.advance(1_000);
      expect(world.tasks.size).toBe(0);
    });

    test('takes one that says nothing, or fails, for one that has lost it', () => {
      const world = keeping(2, { stallMs: 10_000 });
      world.advance(EVERY_MS);
      const [silent, failing] = world.tasksNow as [Sent, Sent];
      world.fail(failing);
      expect(world.run.job).toMatchObject({ state: 'running', hosts: { succeeded: 1, waiting: 1 } });
      world.advance(1_000);
      world.succeed(world.tasksNow.find(({ peer }) => peer === failing.peer) as Sent);
      world.advance(10_000);
      expect(world.run.rows.get(silent.peer)?.state).toBe('running');
      world.advance(10_000);
      expect(world.run.rows.get(silent.peer)).toMatchObject({ error: { code: 'timeout' } });
      world.advance(1_000);
      world.finish();
      expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { succeeded: 2 } });
    });

    test('has built again what nobody has any more, and does not end where that fails', () => {
      const GONE = { code: 'not_found', message: 'it has no snapshot yet' } as const;
      const world = keeping(2, { content: 'snapshot' });
      world.known = null;
      const [first] = [...world.run.rows.keys()] as [PeerId];
      world.run.doubt(first);
      world.advance(250);
      const [asked] = world.tasksNow as [Sent];
      expect(asked).toMatchObject({ peer: first, step: 'deliver' });
      world.say(asked, { kind: 'failed', error: GONE });
      const builds: number[] = [];
      for (let attempt = 0; attempt < 5; attempt += 1) {
        world.advance(60_000);
        const build = world.tasksNow.find(({ step }) => step === 'build') as Sent;
        builds.push(build.attempt);
        world.fail(build);
      }
      expect(new Set(builds).size).toBe(5);
      expect(isEnded(world.run.job)).toBe(false);
      world.advance(15 * 60_000);
      world.finish();
      expect(world.run.job).toMatchObject({ state: 'keeping', hosts: { succeeded: 2 } });
    });

    test('hears nothing any more of what was asked before it ended, or the host left', () => {
      const world = keeping(2);
      world.advance(EVERY_MS);
      const [one, other] = world.tasksNow as [Sent, Sent];
      leave(world, one.peer);
      world.run.heard(one.peer, 'deliver', one.attempt, { kind: 'done', result: MOVED });
      world.run.cancel('enough');
      world.run.heard(other.peer, 'deliver', other.attempt, { kind: 'done', result: MOVED });
      expect(world.run.job).toMatchObject({ state: 'cancelled', hosts: { succeeded: 2 } });
    });
  });

  test('gives hosts nothing while it is held, however long, and then what they had before', () => {
    const spec = { kind: 'preheat', image: IMAGE, stallMs: 10_000 } as const;
    const world = new World(spec, [{}, {}]);
    world.advance();
    const asked = world.tasksNow;
    expect(asked).toHaveLength(1);
    world.isHeldNow = true;
    world.restart();
    world.advance(60_000);
    expect(world.tasksNow).toEqual([]);
    world.isHeldNow = false;
    world.advance();
    expect(world.tasksNow).toEqual(asked);
    world.finish();
    expect(world.run.job.state).toBe('succeeded');
  });

  test('that is paused begins nothing new', () => {
    const world = new World(preheat({ parallelism: 2 }), HOSTS);
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    world.run.pause();
    for (const task of world.tasksNow) world.succeed(task);
    expect(world.tasks.size).toBe(0);
    world.run.resume();
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'succeeded', hosts: { succeeded: 10 } });
  });

  test('that is cancelled has its hosts give up', () => {
    const world = new World(preheat(), HOSTS);
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    world.run.cancel('wrong image');
    expect(world.cancelled).toHaveLength(10);
    expect(world.run.job).toMatchObject({ state: 'cancelled', hosts: { cancelled: 10 } });
    // What a host says of it now it is told to give up again.
    world.run.heard([...world.run.rows.keys()][0] as PeerId, 'deliver', 1, {
      kind: 'progress',
      phase: 'download',
      doneBytes: 1,
      totalBytes: 2,
    });
    expect(world.cancelled).toHaveLength(11);
  });

  test('ends, whatever happens: no host does two attempts at once, and none more than are allowed', () => {
    const event = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('succeed' as const), pick: fc.nat() }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('fail' as const), pick: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constantFrom('leave', 'come', 'restart', 'wait'), pick: fc.nat() }),
      },
    );
    const spec = fc.record({
      content: fc.constantFrom('layers', 'snapshot'),
      parallelism: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant('30%')),
      attempts: fc.integer({ min: 1, max: 3 }),
      stopAfterFailures: fc.constantFrom(null, 2),
      target: fc.constantFrom({}, { percentage: 50 }, { hosts: 3 }),
    });
    fc.assert(
      fc.property(spec, fc.array(event, { maxLength: 60 }), (more, events) => {
        const world = new World(preheat(more), HOSTS.slice(0, 6));
        const gone: JobHost[] = [];
        const check = () => {
          const { job, rows } = world.run;
          const states = [...rows.values()].map(({ state }) => state);
          for (const state of ['waiting', 'running', 'succeeded', 'failed', 'cancelled'] as const)
            expect(job.hosts[state]).toBe(states.filter((each) => each === state).length);
          const limit = typeof more.parallelism === 'number' ? more.parallelism : 1;
          expect(job.hosts.running).toBeLessThanOrEqual(limit);
          for (const row of rows.values()) expect(row.attempts).toBeLessThanOrEqual(more.attempts);
          const busy = world.tasksNow.map(({ peer, step }) => `${peer} ${step}`);
          expect(new Set(busy).size).toBe(busy.length);
        };
        world.advance();
        for (const { kind, pick } of events) {
          const task = world.tasksNow[pick % Math.max(1, world.tasks.size)];
          if (kind === 'succeed' && task) world.succeed(task);
          else if (kind === 'fail' && task) world.fail(task);
          else if (kind === 'restart') world.restart();
          else if (kind === 'wait') world.advance(5_000);
          else if (kind === 'come' && gone.length > 0) world.connect(gone.pop() as JobHost);
          else if (kind === 'leave' && world.connected.size > 1) {
            const [host] = world.connected.values();
            if (host === undefined) continue;
            world.connected.delete(host.peer);
            gone.push(host);
            for (const [name, { peer }] of world.tasks) if (peer === host.peer) world.tasks.delete(name);
          }
          world.advance();
          check();
        }
        for (let rounds = 0; rounds < 400 && !isEnded(world.run.job); rounds += 1) {
          for (const task of world.tasksNow) world.succeed(task);
          world.advance(30_000);
        }
        expect(isEnded(world.run.job)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a measurement', () => {
  const measure = (more: object = {}): RawJobSpec => ({
    kind: 'measure',
    what: 'pull',
    image: IMAGE,
    ...more,
  });
  const measured = {
    elapsedMs: 5,
    firstByteMs: 1,
    mountedMs: null,
    hereBytes: 0,
    storeBytes: 0,
    joinedBytes: 0,
    discardedBytes: 0,
  };
  const done = (world: World) => {
    for (const task of world.tasksNow) world.say(task, { kind: 'done', result: { ...MOVED, measured } });
  };

  test('has hosts keep what they have brought until all have ended', () => {
    const world = new World(measure(), HOSTS.slice(0, 2));
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    const [one, other] = world.tasksNow as [Sent, Sent];
    world.say(one, { kind: 'done', result: { ...MOVED, measured } });
    expect(world.cancelled).toEqual([]);
    world.say(other, { kind: 'done', result: { ...MOVED, measured } });
    expect(world.run.job.state).toBe('succeeded');
    expect(world.cancelled).toHaveLength(2);
    expect([...world.run.rows.values()].map((row) => row.measured)).toEqual([measured, measured]);
  });

  test('is tried once on each host, and keeps what others have measured', () => {
    const world = new World(measure(), HOSTS.slice(0, 2));
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    world.fail(world.tasksNow[0] as Sent);
    done(world);
    expect(world.run.job).toMatchObject({ state: 'failed', hosts: { succeeded: 1, failed: 1 } });
  });

  test('builds no snapshot', () => {
    const world = new World(measure({ what: 'start' }), HOSTS.slice(0, 2));
    world.finish();
    expect(world.run.job).toMatchObject({ state: 'failed', build: null, error: { code: 'not_found' } });
  });

  test('is of those hosts that are named, and of none that is away', () => {
    const world = new World(measure({ target: { names: ['host of peer-1', 'gone'] } }), HOSTS.slice(0, 3));
    const [host] = HOSTS;
    world.away.push({ ...host, peer: 'p' as PeerId, name: 'gone', labels: {}, roles: [], doesTasks: true });
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('deliver')).toEqual(['peer-1']);
  });

  test('begins on one host after the other', () => {
    const world = new World(measure({ staggerMs: 1_000 }), HOSTS.slice(0, 3));
    world.advance();
    world.succeed(world.tasksNow[0] as Sent);
    expect(world.at('deliver')).toHaveLength(1);
    world.advance(999);
    expect(world.at('deliver')).toHaveLength(1);
    world.advance(1);
    expect(world.at('deliver')).toHaveLength(2);
    world.advance(1_000);
    expect(world.at('deliver')).toHaveLength(3);
  });

  test.each([
    { what: 'start', bytesPerSecond: 1_000_000 },
    { keep: true },
    { attempts: 2 },
    { mostBytes: 0 },
    { withinMs: 0 },
    { target: { names: [] } },
  ])('is not of %o', (more) => {
    expect(jobSpecSchema.safeParse(measure(more)).success).toBe(false);
  });
});
