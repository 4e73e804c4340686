import { describe, expect, test } from 'vitest';
import type { Host, HostWork, Job, JobState } from '../../../console/src/documents.ts';
import { healthOf } from '../../../console/src/model/hosts.ts';
import { actionsOf, progressOf, targetOf, withJob } from '../../../console/src/model/jobs.ts';
import { search } from '../../../console/src/model/search.ts';
import { jobSpecSchema, newJob } from '../../../src/jobs/index.ts';

const spec = (more: object = {}) =>
  jobSpecSchema.parse({ kind: 'preheat', image: 'registry.example/app:1', ...more });
const job = (id: string, more: Partial<Job> = {}, atMs = 1_000): Job => ({
  ...newJob(id, spec(), 'me', atMs),
  ...more,
});
const NONE = { total: 0, waiting: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };

describe('a job', () => {
  test('can be done with what the supernode allows in its state', () => {
    const actions = (state: JobState) => actionsOf({ state });
    expect(actions('running')).toEqual(['pause', 'cancel']);
    expect(actions('paused')).toEqual(['resume', 'cancel']);
    expect(actions('failed')).toEqual(['retry']);
    expect(actions('succeeded')).toEqual([]);
  });

  test('is as far as its hosts are, or as the one that builds for all', () => {
    expect(progressOf(job('a')).words).toBe('no host chosen yet');
    const hosts = { ...NONE, total: 4, succeeded: 1, failed: 1, running: 2 };
    expect(progressOf(job('a', { isSelected: true, hosts }))).toEqual({
      done: 1,
      failed: 1,
      total: 4,
      words: '1 of 4 hosts, 1 failed',
    });
    const build = { name: 'n1', state: 'running', phase: 'build', doneBytes: 1, totalBytes: 4 } as HostWork;
    expect(progressOf(job('a', { build }))).toMatchObject({ done: 0.25, total: 1, words: 'build on n1' });
  });

  test('says in words whom it is for', () => {
    expect(targetOf({ spec: spec() })).toBe('all hosts, 100 at a time');
    const target = { role: 'seed', labels: { rack: 'a' }, percentage: 25 };
    expect(targetOf({ spec: spec({ target, keep: true, parallelism: '10%' }) })).toBe(
      '25 % of hosts with the role seed labelled rack=a, 10% at a time, and those that come later',
    );
  });

  test('changes in a list where it stands, and comes first where it is new', () => {
    const page = { items: [job('b'), job('a')], next: null };
    expect(withJob(page, job('a', { state: 'paused' }), true)?.items.map(({ state }) => state)).toEqual([
      'waiting',
      'paused',
    ]);
    expect(withJob(page, job('c', {}, 2_000), true)?.items.map(({ id }) => id)).toEqual(['c', 'b', 'a']);
    expect(withJob(page, job('c', {}, 2_000), false)).toBeNull();
    expect(withJob(page, job('0', {}, 1), true)).toBeNull();
  });
});

const host: Host = {
  ...{
    peer: '12D3KooWx',
    name: 'node-1',
    state: 'away',
    dataAddress: null,
    labels: { rack: 'a3' },
    roles: [],
  },
  ...{ uploads: 0, uploadSlots: 4, blobs: 0, heardAtMs: 0 },
};

test('a host that is not well says since when or until when, and what to do', () => {
  expect(healthOf({ ...host, state: 'connected' }, 2_000)).toEqual({ what: 'Heard just now.', todo: null });
  expect(healthOf(host, 7_200_000)).toMatchObject({
    what: expect.stringMatching(/2 h ago/),
    todo: expect.stringMatching(/doctor/),
  });
  expect(healthOf({ ...host, state: 'quarantined', quarantinedUntilMs: 60_000 }, 0).what).toMatch(
    /until \d\d:\d\d/,
  );
  expect(healthOf({ ...host, state: 'revoked' }, 0).todo).toMatch(/keys\/peer\.pem/);
});

test('a search finds what has all of its words', () => {
  const lists = { hosts: [host], snapshots: [], jobs: [job('a')], blobs: [] };
  expect(search('rack=a3 NODE', lists)).toMatchObject([
    { kind: 'host', title: 'node-1', href: '#/hosts/12D3KooWx' },
  ]);
  expect(search('preheat app', lists)).toMatchObject([{ kind: 'job', href: '#/jobs/a' }]);
  expect(search('nothing', lists)).toEqual([]);
  expect(search('  ', lists)).toEqual([]);
});
