import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerId } from '@drakkar/protocol';
import { currentSpan, Tracing } from '@drakkar/service';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  dryRunRequest,
  Policies,
  type PolicyRequest,
  type PushedImage,
  policyRequest,
} from '../../../src/policies/index.ts';
import { MAX_WAITING } from '../../../src/policies/wants.ts';
import { SqliteState } from '../../../src/state/index.ts';
import { FakeJobs } from './jobs.ts';

const log = pino({ level: 'silent' });
const peer = 'peer' as PeerId;
const MINUTE_MS = 60_000;

const request = (fields: object = {}): PolicyRequest =>
  policyRequest.parse({ name: 'team', images: ['r.io/team/**'], ...fields });
const pushed = (tag: string, repository = 'team/app'): PushedImage => ({
  ...{ registry: 'r.io', repository, tag, digest: null },
});
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('policies', () => {
  let directory: string;
  let stack: AsyncDisposableStack;
  let state: SqliteState;
  let policies: Policies;
  let jobs: FakeJobs;
  let nowMs: number;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'policies-'));
    jobs = new FakeJobs(() => nowMs);
    nowMs = Date.now();
    await open();
  });
  afterEach(async () => {
    await stack[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  async function open(): Promise<void> {
    stack = new AsyncDisposableStack();
    state = stack.use(new SqliteState(join(directory, 'state.sqlite')));
    policies = stack.use(
      await Policies.open({
        ...{ state, log, tracing: new Tracing(), jobs: jobs.modules },
        ...{ forgetUnused: () => 0, nowMs: () => nowMs },
      }),
    );
  }
  const restart = async () => {
    await stack[Symbol.asyncDispose]();
    await open();
  };
  const waiting = async () => (await state.list('wanted/', { limit: 1_000 })).length;
  const have = (...images: string[]) => expect.poll(() => jobs.images).toEqual(images);
  /** Long enough for what would be begun by mistake. */
  const settled = async () => {
    for (let turns = 0; turns < 20; turns += 1) await turn();
  };

  test('keep what waits when the supernode ends, in its order', async () => {
    await policies.create(request({ atOnce: 10 }), 'me');
    jobs.isBusy = true;
    expect(await policies.pushed([pushed('2'), pushed('1'), pushed('1', 'other/app')])).toBe(2);
    expect(await waiting()).toBe(2);
    await restart();
    jobs.isBusy = false;
    await have('build r.io/team/app:2', 'build r.io/team/app:1');
    await expect.poll(waiting).toBe(0);
    expect(jobs.all[0]?.createdBy).toBe('policy team');
  });

  test('begin each job for the trace of who wanted it, also when the supernode has ended meanwhile', async () => {
    await policies.create(request({ atOnce: 10 }), 'me');
    jobs.isBusy = true;
    const tracing = new Tracing();
    const traces = ['1', '2'].map((tag) =>
      tracing.run('delivery', {}, () => {
        const { traceId } = currentSpan()?.context ?? {};
        return policies.pushed([pushed(tag)]).then(() => traceId);
      }),
    );
    await policies.pushed([pushed('3')]);
    await restart();
    jobs.isBusy = false;
    const [first, second] = await Promise.all(traces);
    await have(...['1', '2', '3'].map((tag) => `build r.io/team/app:${tag}`));
    expect(jobs.traces).toEqual([first, second, undefined]);
  });

  test('keep the image that a host pulled first', async () => {
    jobs.isBusy = true;
    policies.firstPull(peer, 'r.io/team/app:1', 'linux/arm64', 5);
    await expect.poll(waiting).toBe(1);
    await restart();
    jobs.isBusy = false;
    await have('build r.io/team/app:1');
    expect(jobs.all[0]?.spec).toMatchObject({ near: peer, platform: 'linux/arm64' });
  });

  test.each([
    ['has ended', true],
    ['has not, and what it builds is pushed again', false],
  ])(
    'begin one job when the supernode ends before it is kept that there is one, which %s',
    async (_, isEnded) => {
      await policies.create(request(), 'me');
      const commit = vi.spyOn(state, 'commit').mockImplementation(async (changes) => {
        if (changes.some(({ key, value }) => key.startsWith('wanted/') && value === null))
          throw new Error('no space left');
        return await SqliteState.prototype.commit.call(state, changes);
      });
      await policies.pushed([pushed('1')]);
      await expect.poll(() => jobs.all.length).toBe(1);
      await expect.poll(() => commit.mock.results.length).toBeGreaterThan(1);
      expect(await waiting()).toBe(1);
      if (isEnded) jobs.end(jobs.all[0]);
      commit.mockRestore();
      await restart();
      await expect.poll(waiting).toBe(0);
      expect(jobs.all).toHaveLength(1);
      if (isEnded) return;
      jobs.resolve(jobs.all[0]);
      await policies.pushed([pushed('1')]);
      jobs.end(jobs.all[0]);
      await expect.poll(() => jobs.all.length).toBe(2);
    },
  );

  test('do once what is asked for many times, also after a restart', async () => {
    await policies.create(request(), 'me');
    await Promise.all([policies.pushed([pushed('1'), pushed('1')]), policies.pushed([pushed('1')])]);
    await have('build r.io/team/app:1');
    await expect.poll(waiting).toBe(0);
    await restart();
    await policies.pushed([pushed('1')]);
    expect(await waiting()).toBe(0);
    jobs.end(jobs.all[0]);
    await settled();
    expect(jobs.all).toHaveLength(1);
  });

  test('do once more what may mean something else by now', async () => {
    await policies.create(request(), 'me');
    await policies.pushed([pushed('1')]);
    await have('build r.io/team/app:1');
    jobs.resolve(jobs.all[0]);
    await policies.pushed([pushed('1')]);
    await policies.pushed([pushed('1')]);
    expect(await waiting()).toBe(1);
    await restart();
    await settled();
    expect(jobs.all).toHaveLength(1);
    jobs.end(jobs.all[0]);
    await have('build r.io/team/app:1', 'build r.io/team/app:1');
    jobs.end(jobs.all[1]);
    await settled();
    expect(jobs.all).toHaveLength(2);
  });

  test('have at most so many jobs at once, also after a restart', async () => {
    await policies.create(request({ atOnce: 2 }), 'me');
    await policies.pushed(['1', '2', '3', '4', '5'].map((tag) => pushed(tag)));
    await expect.poll(() => jobs.all.length).toBe(2);
    await restart();
    await settled();
    expect(jobs.all).toHaveLength(2);
    for (let count = 3; count <= 5; count += 1) {
      jobs.end(jobs.active[0]);
      await expect.poll(() => jobs.all.length).toBe(count);
      expect(jobs.active).toHaveLength(2);
    }
  });

  test('have the sender come again while too much waits', async () => {
    await policies.create(request(), 'me');
    jobs.isBusy = true;
    const many = Array.from({ length: MAX_WAITING }, (_, number) => pushed(`${number}`));
    expect(await policies.pushed(many)).toBe(MAX_WAITING);
    await expect(policies.pushed([pushed('more')])).rejects.toMatchObject({
      statusCode: 429,
      retryAfterSeconds: expect.any(Number),
    });
    // What waits already may be said again.
    expect(await policies.pushed([pushed('7')])).toBe(1);
  });

  test('keep a delivery of a hundred images in one commit', async () => {
    await policies.create(request(), 'me');
    jobs.isBusy = true;
    const commit = vi.spyOn(state, 'commit');
    await policies.pushed(Array.from({ length: 100 }, (_, number) => pushed(`${number}`)));
    expect(commit).toHaveBeenCalledTimes(1);
    expect(await waiting()).toBe(100);
  });

  test('do what they say when a job is begun, and nothing when they are off or for others', async () => {
    const { id } = await policies.create(request(), 'me');
    jobs.isBusy = true;
    await policies.pushed([pushed('1'), pushed('1', 'team/b')]);
    await policies.change(id, request({ images: ['r.io/team/app'], push: true }));
    jobs.isBusy = false;
    await have('build r.io/team/app:1');
    expect(jobs.all[0]?.spec).toMatchObject({ push: true });
    await expect.poll(waiting).toBe(0);
    jobs.isBusy = true;
    await policies.pushed([pushed('2')]);
    await policies.change(id, request({ enabled: false }));
    jobs.isBusy = false;
    await expect.poll(waiting).toBe(0);
    await policies.change(id, request());
    jobs.isBusy = true;
    await policies.pushed([pushed('3')]);
    await policies.remove(id);
    expect(await waiting()).toBe(0);
    expect(jobs.all).toHaveLength(1);
  });

  test('build what they distribute, and distribute what was built, also after a restart', async () => {
    const distribute = { content: 'start', target: { role: 'seed' } };
    await policies.create(request({ push: true, distribute, atOnce: 5 }), 'me');
    await policies.pushed([pushed('1'), pushed('2')]);
    await have('build r.io/team/app:1', 'build r.io/team/app:2');
    expect(jobs.all[0]?.spec).toMatchObject({ push: true });
    await restart();
    expect(await waiting()).toBe(2);
    jobs.end(jobs.all[0], 'succeeded');
    jobs.end(jobs.all[1], 'failed');
    await have('build r.io/team/app:1', 'build r.io/team/app:2', 'preheat r.io/team/app:1');
    expect(jobs.all[2]?.spec).toMatchObject(distribute);
    await expect.poll(waiting).toBe(0);
  });

  test('build once more before they distribute where another was pushed meanwhile', async () => {
    await policies.create(request({ distribute: { content: 'snapshot' } }), 'me');
    await policies.pushed([pushed('1')]);
    await have('build r.io/team/app:1');
    jobs.resolve(jobs.all[0]);
    await policies.pushed([pushed('1')]);
    jobs.end(jobs.all[0]);
    await have('build r.io/team/app:1', 'build r.io/team/app:1');
    jobs.end(jobs.all[1]);
    await have('build r.io/team/app:1', 'build r.io/team/app:1', 'preheat r.io/team/app:1');
  });

  test('build nothing for layers, and give them once a day', async () => {
    await policies.create(request({ name: 'a', distribute: { content: 'layers' } }), 'me');
    await policies.remove(
      policies.page({ limit: 500 }).items.find(({ name }) => name === 'zero-touch')?.id ?? '',
    );
    const pull = async () => {
      policies.firstPull(peer, 'r.io/team/app:1', undefined, 5);
      await settled();
    };
    await pull();
    await have('preheat r.io/team/app:1');
    jobs.resolve(jobs.all[0]);
    await pull();
    jobs.end(jobs.all[0]);
    await pull();
    await restart();
    await pull();
    expect(jobs.all).toHaveLength(1);
    nowMs += 25 * 60 * MINUTE_MS;
    await pull();
    await expect.poll(() => jobs.all.length).toBe(2);
  });

  test('build once what is to be started, however often that is said, and once more by what they say then', async () => {
    const { id } = await policies.create(request({ atOnce: 10 }), 'me');
    const other = await policies.create(request({ name: 'other', atOnce: 10 }), 'me');
    const images = ['r.io/team/app:1', `r.io/team/app@sha256:${'1'.repeat(64)}`];
    const begun = images.map((image) => `build ${image}`);
    await policies.want(id, images);
    await have(...begun);
    for (const job of jobs.active) jobs.end(job);
    nowMs += 60 * MINUTE_MS;
    expect(await policies.want(id, images)).toEqual(images);
    await restart();
    await policies.want(id, images);
    await settled();
    expect(jobs.images).toEqual(begun);
    await policies.want(other.id, images);
    await have(...begun, ...begun);
    for (const job of jobs.active) jobs.end(job);
    nowMs += MINUTE_MS;
    await policies.change(id, request({ atOnce: 9 }));
    await policies.want(id, images);
    await have(...begun, ...begun, ...begun);
    for (const job of jobs.active) jobs.end(job, 'failed');
    await policies.want(id, images, true);
    await have(...begun, ...begun, ...begun, ...begun);
  });

  test('look at tags again when their time has come, and at digests never', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      await restart();
      await policies.remove(policies.page({ limit: 1 }).items[0]?.id ?? '');
      await policies.pushed(['1', '2', '3'].map((tag) => pushed(tag)));
      policies.firstPull(peer, `r.io/team/app@sha256:${'0'.repeat(64)}`, undefined, 5);
      await settled();
      await policies.create(request({ refreshMs: 60 * MINUTE_MS, atOnce: 10 }), 'me');
      vi.advanceTimersByTime(30_000);
      await settled();
      expect(jobs.all).toEqual([]);
      nowMs += 60 * MINUTE_MS;
      const commit = vi.spyOn(state, 'commit');
      jobs.isBusy = true;
      vi.advanceTimersByTime(30_000);
      await settled();
      expect(commit).toHaveBeenCalledTimes(1);
      jobs.isBusy = false;
      vi.advanceTimersByTime(30_000);
      await expect.poll(() => jobs.all.length).toBe(3);
      for (const job of jobs.active) jobs.end(job);
      vi.advanceTimersByTime(30_000);
      await settled();
      expect(jobs.all).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });

  test('would be for what was pushed and pulled, whoever it was for', async () => {
    await policies.remove(policies.page({ limit: 1 }).items[0]?.id ?? '');
    await policies.pushed([pushed('1'), pushed('1', 'other/app')]);
    policies.firstPull(peer, 'r.io/team/web:1', 'linux/amd64', 5);
    policies.firstPull(peer, 'r.io/team/web:1', 'linux/arm64', 5);
    const images = async () =>
      (await policies.matching({ images: ['r.io/team/*'] })).map(({ image }) => image).sort();
    await expect.poll(images).toEqual(['r.io/team/app:1', 'r.io/team/web:1']);
    const commit = vi.spyOn(state, 'commit');
    nowMs += MINUTE_MS;
    await policies.pushed([pushed('1')]);
    expect(commit).not.toHaveBeenCalled();
    nowMs += 10 * MINUTE_MS;
    await policies.pushed([pushed('1')]);
    expect(commit).toHaveBeenCalledTimes(1);
    expect(jobs.all).toEqual([]);
  });
});

describe('a policy that is asked for', () => {
  const issuesOf = (fields: object) =>
    policyRequest.safeParse({ name: 'a', ...fields }).error?.issues.map(({ path, message }) => ({
      path: path.join('.'),
      message,
    }));

  test('has no more patterns than can be matched while others wait', () => {
    const image = `r.io/${'a'.repeat(59)}`;
    const most = Array.from({ length: 64 }, () => image);
    expect(issuesOf({ images: most })).toBeUndefined();
    const tooMany = [{ path: 'images', message: expect.stringContaining('4096') }];
    expect(issuesOf({ images: [`${image}b`, ...most.slice(1)] })).toEqual(tooMany);
    expect(issuesOf({ images: [`r.io/{${'*a,'.repeat(15)}b}${'*a'.repeat(150)}`] })).toEqual(tooMany);
    expect(dryRunRequest.safeParse({ images: [`${image}b`, ...most] }).success).toBe(false);
  });

  test('says what is wrong with a pattern alone', () => {
    expect(issuesOf({ images: ['a', '{a'], keepMs: 60 * MINUTE_MS })).toEqual([
      { path: 'images.1', message: expect.stringContaining('is no pattern') },
    ]);
  });

  test('forgets no snapshots by tags', () => {
    const keepMs = 60 * MINUTE_MS;
    const refused = [{ path: 'keepMs', message: expect.stringContaining('tag') }];
    expect(issuesOf({ images: ['r.io/a', 'r.io/{b,c:1}'], keepMs })).toEqual(refused);
    expect(issuesOf({ images: ['r.io:5000/a'], keepMs })).toBeUndefined();
    expect(issuesOf({ images: ['r.io/a:1'] })).toBeUndefined();
  });
});
