import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ApiFault,
  type ApiRequest,
  type ControlPlane,
  type MemoryFleet,
  startNodes,
  startUnrulyApi,
  type UnrulyApi,
} from '@drakkar/lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ApiServer, isNotFound, StatusError } from '../../src/cluster/index.ts';
import {
  connect,
  fleetOf,
  imageSnapshotsOf,
  MemoryPolicies,
  SOON,
  snapshotPoliciesOf,
  startControllers,
  startOurPlane,
} from '../kit.ts';

const MERGE = 'application/merge-patch+json';
/** More than what is done for a few resources may ask in so short a time, and far less than what never waits would. */
const CALM = 300;

const running = new AsyncDisposableStack();
let plane: ControlPlane;
/** As it is; controllers go through the other one. */
let api: ApiServer;
let unruly: UnrulyApi;
let snapshots: ReturnType<typeof imageSnapshotsOf>;
let fleet: MemoryFleet;
let policies: MemoryPolicies;
let controllers: AsyncDisposable;

beforeAll(async () => {
  plane = running.use(await startOurPlane());
  running.use(await startNodes(plane, [{ name: 'one' }, { name: 'two' }]));
  api = connect(plane.kubeconfig);
  snapshots = imageSnapshotsOf(api);
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(async () => {
  unruly = await startUnrulyApi(plane);
  fleet = fleetOf('one', 'two');
  policies = new MemoryPolicies();
});
afterEach(async () => {
  unruly.fault = () => undefined;
  await plane.kubectl(['delete', 'imagesnapshots,snapshotpolicies', '--all', '--timeout=60s']);
  await controllers[Symbol.asyncDispose]();
  await unruly[Symbol.asyncDispose]();
});

const start = (kubeconfig = unruly.kubeconfig) => {
  controllers = startControllers(connect(kubeconfig), fleet, policies);
};
const isWrite = ({ method }: ApiRequest) => method !== 'GET';
const isOurs = ({ path }: ApiRequest) => path.includes('/imagesnapshots');
const timesOf = (all: readonly unknown[]) =>
  Object.entries(Object.groupBy(all, (each) => JSON.stringify(each))).map(([what, same]) => [
    what,
    same?.length,
  ]);

/** Of each of so many requests for the same, whatever their queries say, all but the last. */
function allButEach(nth: number): (request: ApiRequest) => boolean {
  const times = new Map<string, number>();
  return ({ method, path, isWatch }) => {
    const key = `${method} ${path.split('?')[0]} ${isWatch}`;
    const time = (times.get(key) ?? 0) + 1;
    times.set(key, time);
    return time % nth !== 0;
  };
}

/** Writes, edits and deletes some resources, and sees that all of it comes about: each thing once. */
async function change(prefix: string, by: ApiServer = api): Promise<void> {
  const [snapshots, ours] = [imageSnapshotsOf(by), snapshotPoliciesOf(by)];
  const [first, second, third] = ['first', 'second', 'third'].map((name) => `${prefix}-${name}`) as [
    string,
    string,
    string,
  ];
  for (const name of [first, second, third]) await snapshots.apply(name, { images: [name] });
  await ours.apply(prefix, { images: ['**'], fromPods: { namespaces: [prefix] } });
  await snapshots.untilReady(first, second);
  await snapshots.apply(first, { images: [`${first}:2`] });
  await snapshots.remove(second);
  await ours.apply(prefix, { images: ['**'], atOnce: 7 });
  await snapshots.untilReady(first, third);
  await snapshots.untilGone(second);
  await expect.poll(() => policies.kept.get(prefix)?.atOnce, SOON).toBe(7);
  expect(await snapshots.statusOf(first)).toMatchObject({ ready: '1/1', nodes: { desired: 2, ready: 2 } });
  await expect.poll(() => fleet.asks('evict').length, SOON).toBe(2);
  expect(fleet.asks('build').sort()).toEqual([first, `${first}:2`, second, third].sort());
  // Nothing twice.
  expect(
    timesOf(fleet.asked.map(({ owner, spec }) => [owner, spec])).filter(([, times]) => times !== 1),
  ).toEqual([]);
  await ours.remove(prefix);
  await ours.untilGone(prefix);
  expect(policies.kept.has(prefix)).toBe(false);
}

/** Of requests that have had an answer that tells when to ask again, those that were asked again before. */
function impatient(all: UnrulyApi['seen']): string[] {
  return all.flatMap(({ method, path, atMs, fault }) => {
    if (fault?.kind !== 'refuse' || fault.retryAfterS === undefined) return [];
    const untilMs = atMs + fault.retryAfterS * 1_000;
    const isSooner = (each: ApiRequest) =>
      each.method === method && each.path === path && each.atMs > atMs && each.atMs < untilMs;
    return all.some(isSooner) ? [`${method} ${path}`] : [];
  });
}

describe('controllers bring about what is written, and nothing twice,', () => {
  test('while each watch is cut after a second', async () => {
    unruly.fault = ({ isWatch }) => (isWatch ? { kind: 'cut', afterMs: 1_000 } : undefined);
    start();
    await change('cut');
    const watches = () => unruly.seen.filter((each) => each.isWatch && isOurs(each)).length;
    // It is followed as before however often that was: who waits longer each time would take minutes.
    await expect.poll(watches, SOON).toBeGreaterThan(9);
    expect(unruly.seen.length).toBeLessThan(CALM);
  });

  test('while each watch ends at once, which they do not meet with ever more of them', async () => {
    start();
    await change('short');
    const before = unruly.seen.length;
    unruly.fault = ({ isWatch }) => (isWatch ? { kind: 'cut', afterMs: 0 } : undefined);
    await sleep(3_000);
    const watches = unruly.seen.slice(before).filter(({ isWatch }) => isWatch);
    for (const [path = '', times = 0] of timesOf(watches.map(({ path }) => path.split('?')[0])))
      expect(Number(times), `${path}`).toBeLessThan(12);
  });

  test('while most writes meet with a conflict', async () => {
    const fails = allButEach(3);
    unruly.fault = (request) =>
      isWrite(request) && fails(request) ? { kind: 'refuse', code: 409, reason: 'Conflict' } : undefined;
    start();
    await change('conflict');
    expect(unruly.seen.length).toBeLessThan(CALM);
  });

  test('while somebody else writes into the same resources all the time', async () => {
    start();
    const ending = new AbortController();
    const scribble = async (name: string) => {
      const path = `${snapshots.path}/${name}`;
      for (let count = 0; !ending.signal.aborted; count += 1) {
        const labels = { metadata: { labels: { scribbled: `${count}` } } };
        await api.request('PATCH', path, { body: labels, contentType: MERGE }).catch(() => {});
        const body = { status: { scribbled: count } };
        await api.request('PATCH', `${path}/status`, { body, contentType: MERGE }).catch(() => {});
      }
    };
    const scribbling = ['storm-first', 'storm-third'].map(scribble);
    await change('storm');
    ending.abort();
    await Promise.all(scribbling);
    expect(unruly.seen.length).toBeLessThan(CALM);
  });

  test('while they are put off for a second, and ask nothing again before', async () => {
    const fault: ApiFault = { kind: 'refuse', code: 429, reason: 'TooManyRequests', retryAfterS: 1 };
    const fails = allButEach(2);
    const untilMs = performance.now() + 4_000;
    unruly.fault = (request) => (request.atMs < untilMs && fails(request) ? fault : undefined);
    start();
    await change('busy');
    expect(impatient(unruly.seen)).toEqual([]);
    expect(unruly.seen.length).toBeLessThan(CALM);
  });

  test('while each answer takes a while', async () => {
    unruly.fault = () => ({ kind: 'delay', ms: 800 });
    start();
    await change('slow');
    expect(unruly.seen.length).toBeLessThan(CALM);
  });

  test('while the server has always forgotten from where they want to go on', async () => {
    const fails = allButEach(4);
    unruly.fault = (request) => (request.isWatch && fails(request) ? { kind: 'gone' } : undefined);
    start();
    await change('gone');
    expect(unruly.seen.length).toBeLessThan(CALM);
  });

  test('while the API server is killed and comes back, having forgotten what was before', async () => {
    start(plane.kubeconfig);
    const outage = async () => {
      await expect.poll(() => fleet.asks('build').length, SOON).toBeGreaterThan(0);
      await plane.apiServer.kill();
      await plane.apiServer.start();
      await plane.compact();
    };
    await Promise.all([change('killed', persistent), outage()]);
  });

  test('or end where it is not known which nodes there are', async () => {
    unruly.fault = ({ path }) =>
      path.startsWith('/api/v1/nodes') ? { kind: 'refuse', code: 500, reason: 'InternalError' } : undefined;
    start();
    await snapshots.apply('unknown', { images: ['a'] });
    await expect.poll(() => unruly.seen.filter((each) => each.isWatch && isOurs(each)).length, SOON).toBe(1);
    await controllers[Symbol.asyncDispose]();
    expect(fleet.asked).toEqual([]);
    unruly.fault = () => undefined;
    start();
    await snapshots.untilReady('unknown');
  });
});

/** Tries until there is an answer. */
const persistent: ApiServer = {
  watch: (...call) => api.watch(...call),
  async request<T>(...call: Parameters<ApiServer['request']>): Promise<T> {
    for (;;) {
      try {
        return await api.request<T>(...call);
      } catch (error) {
        if (call[0] === 'DELETE' && isNotFound(error)) return undefined as T;
        if (!(error instanceof StatusError) || error.code !== 0) throw error;
        await sleep(100);
      }
    }
  },
};
