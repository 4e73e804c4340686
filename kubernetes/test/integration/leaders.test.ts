import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, type MemoryFleet, startNodes, startUnrulyApi } from '@drakkar/lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type ApiServer, LeaderElection, StatusError } from '../../src/cluster/index.ts';
import { LEASE } from '../../src/cluster/lease.ts';
import { connect, fleetOf, imageSnapshotsOf, SOON, startControllers, startOurPlane } from '../kit.ts';

const MINUTE_MS = 60_000;
const QUICK = { durationMs: 3_000, renewDeadlineMs: 2_000, retryMs: 300 };

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let api: ApiServer;
let snapshots: ReturnType<typeof imageSnapshotsOf>;
let fleet: MemoryFleet;
let ended: AsyncDisposableStack;

beforeAll(async () => {
  plane = running.use(await startOurPlane());
  running.use(await startNodes(plane, [{ name: 'one' }, { name: 'two' }]));
  api = connect(plane.kubeconfig);
  snapshots = imageSnapshotsOf(api);
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  ended = new AsyncDisposableStack();
  fleet = fleetOf('one', 'two');
});
afterEach(() => ended[Symbol.asyncDispose]());

/** Somebody who leads where nobody else does, and has the fleet do what is written while it leads. */
function elect(lease: string, identity: string, asked: ApiServer, given = LEASE) {
  const ending = new AbortController();
  let isDead = false;
  const own: ApiServer = {
    request: (...call) =>
      isDead ? Promise.reject(new StatusError({ message: 'dead' })) : asked.request(...call),
    watch: (...call) => asked.watch(...call),
  };
  const times: number[] = [];
  let isLeading = false;
  const options = { namespace: 'default', name: lease, identity, failed: () => {} };
  const lead = async (signal: AbortSignal) => {
    times.push(performance.now());
    isLeading = true;
    const controllers = startControllers(own, fleet);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await controllers[Symbol.asyncDispose]();
    isLeading = false;
  };
  const election = new LeaderElection(own, { ...options, lead }, given);
  const run = election.run(ending.signal);
  const end = async () => {
    ending.abort();
    await run;
  };
  ended.defer(end);
  return {
    /** When it has begun to lead. */
    times,
    isLeading: () => isLeading,
    end,
    /** It does nothing any more, not even give back what it holds. */
    async kill() {
      isDead = true;
      await end();
    },
  };
}

interface LeaseTimes {
  readonly spec?: { readonly acquireTime?: string; readonly renewTime?: string };
}

const shifted = <T>(lease: T, byMs: number): T => {
  const { spec } = lease as LeaseTimes;
  const shift = (text: string) => new Date(Date.parse(text) + byMs).toISOString().replace('Z', '000Z');
  const { acquireTime, renewTime } = spec ?? {};
  if (acquireTime === undefined || renewTime === undefined) return lease;
  return { ...lease, spec: { ...spec, acquireTime: shift(acquireTime), renewTime: shift(renewTime) } };
};

/** Leases as they are to somebody whose clock is so much ahead: what it writes is later, and what it reads is older. */
const ahead = (byMs: number): ApiServer => ({
  watch: (...call) => api.watch(...call),
  async request<T>(...[method, path, call]: Parameters<ApiServer['request']>): Promise<T> {
    if (!path.includes('/leases')) return await api.request<T>(method, path, call);
    const body = call?.body === undefined ? {} : { body: shifted(call.body, byMs) };
    return shifted(await api.request<T>(method, path, { ...call, ...body }), -byMs);
  },
});

describe('of two that could lead', () => {
  test('the other one goes on within 15 seconds where the one that does is killed, and asks for nothing twice', async () => {
    const [one, two] = [elect('killed', 'one', api), elect('killed', 'two', api)];
    await expect.poll(() => [one, two].some(({ isLeading }) => isLeading()), SOON).toBe(true);
    const [leader, other] = one.isLeading() ? [one, two] : [two, one];
    fleet.isStuck = true;
    const names = Array.from({ length: 10 }, (_, index) => `taken-${index}`);
    await Promise.all(names.map((name) => snapshots.apply(name, { images: [name] })));
    await expect.poll(() => fleet.asks('build').length, SOON).toBe(names.length);
    const killedMs = performance.now();
    await leader.kill();
    fleet.endAll();
    await snapshots.apply('taken-0', { images: ['taken-0', 'meanwhile'] });
    await snapshots.remove('taken-1');
    await expect.poll(other.isLeading, SOON).toBe(true);
    expect((other.times[0] ?? 0) - killedMs).toBeLessThan(15_000);
    await snapshots.untilReady('taken-0', ...names.slice(2));
    await snapshots.untilGone('taken-1');
    expect(fleet.asks('build').sort()).toEqual([...names, 'meanwhile'].sort());
    expect(new Set(fleet.asks('keep')).size).toBe(fleet.asks('keep').length);
    const left = names.filter((name) => name !== 'taken-1');
    await Promise.all(left.map((name) => snapshots.remove(name)));
    await snapshots.untilGone(...left);
  });

  test('nobody leads while the API server hangs, and one goes on when it does not', async () => {
    const all = ['one', 'two'].map((identity) => elect('hung', identity, api, QUICK));
    const leading = () => all.filter(({ isLeading }) => isLeading()).length;
    await expect.poll(leading, SOON).toBe(1);
    fleet.isStuck = true;
    await snapshots.apply('hung', { images: ['hung'] });
    await expect.poll(() => fleet.asks('build'), SOON).toEqual(['hung']);
    plane.apiServer.pause(true);
    fleet.endAll();
    await expect.poll(leading, SOON).toBe(0);
    plane.apiServer.pause(false);
    await snapshots.apply('hung', { images: ['hung', 'other'] });
    await snapshots.untilReady('hung');
    expect(leading()).toBe(1);
    expect(fleet.asks('build')).toEqual(['hung', 'other']);
    await snapshots.remove('hung');
    await snapshots.untilGone('hung');
  });

  test('one leads all the time where each answer takes two seconds', async () => {
    await using unruly = await startUnrulyApi(plane);
    unruly.fault = ({ path }) => (path.includes('/leases') ? { kind: 'delay', ms: 2_000 } : undefined);
    const all = ['one', 'two'].map((identity) => elect('slow', identity, connect(unruly.kubeconfig)));
    const renewals = () => unruly.seen.filter(({ method }) => method === 'PUT').length;
    await expect.poll(renewals, SOON).toBeGreaterThan(3);
    expect(all.map(({ times }) => times.length).sort()).toEqual([0, 1]);
  });

  test('neither leads beside the other where the clock of one is minutes ahead or behind', async () => {
    const takeTurns = async (minutes: number) => {
      const skewed = ahead(minutes * MINUTE_MS);
      const elected = (who: string, asked: ApiServer) => elect(`skew${minutes}`, who, asked, QUICK);
      const first = elected('first', skewed);
      await expect.poll(first.isLeading, SOON).toBe(true);
      const second = elected('second', api);
      await sleep(1.5 * QUICK.durationMs);
      expect([first.isLeading(), second.times]).toEqual([true, []]);
      await first.kill();
      await expect.poll(second.isLeading, SOON).toBe(true);
      const third = elected('third', skewed);
      await sleep(1.5 * QUICK.durationMs);
      expect([second.isLeading(), third.times]).toEqual([true, []]);
      await second.kill();
      await expect.poll(third.isLeading, SOON).toBe(true);
    };
    await Promise.all([5, -5].map(takeTurns));
  });

  test.each([5, -5])(
    'the other one looks at nothing again, where its clock is %i minutes ahead',
    async (minutes) => {
      const now = Date.now;
      // The last time that it was due is a minute ago.
      const sinceMs = 11 * MINUTE_MS;
      const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + sinceMs);
      ended.defer(() => clock.mockRestore());
      const name = `clock${minutes}`;
      const spec = { refresh: { interval: '10m' }, images: [name] };
      await snapshots.apply(name, spec);
      const one = startControllers(api, fleet);
      await snapshots.untilReady(name);
      await one[Symbol.asyncDispose]();
      clock.mockImplementation(() => now() + sinceMs + minutes * MINUTE_MS);
      ended.use(startControllers(api, fleet));
      await snapshots.apply(name, { ...spec, images: [name, 'another'] });
      await snapshots.untilReady(name);
      expect(fleet.asks('build')).toEqual([name, 'another']);
    },
  );
});
