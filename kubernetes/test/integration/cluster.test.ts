import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, startControlPlane } from '@drakkar/lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type ApiServer,
  type ClusterObject,
  Events,
  isConflict,
  isNotFound,
  LeaderElection,
  type LeaseOptions,
  METADATA_ONLY,
  Reflector,
  StatusError,
} from '../../src/cluster/index.ts';
import { connect, SOON } from '../kit.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let api: ApiServer;
let ending: AbortController;
let ended: Promise<unknown>[];

beforeAll(async () => {
  plane = running.use(await startControlPlane());
  api = connect(plane.kubeconfig);
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  ending = new AbortController();
  ended = [];
});
afterEach(async () => {
  ending.abort();
  await Promise.all(ended);
});

const mapOf = (name: string, data: object = {}, labels: object = {}) => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data },
});
const put = async (name: string, value: string, labels: object = {}) => {
  const body = mapOf(name, { value }, labels);
  const query = { fieldManager: 'test', force: true };
  await api.request('PATCH', `${MAPS}/${name}`, { body, query, contentType: 'application/apply-patch+yaml' });
};
const remove = (name: string) => api.request('DELETE', `${MAPS}/${name}`);

/** Config maps with a label, as a reflector of their values knows them. */
function follow(label: string, asked: ApiServer = api) {
  const failures: StatusError[] = [];
  const heard: (readonly [now: string | undefined, before: string | undefined])[] = [];
  const reflector = new Reflector<string>(asked, {
    path: MAPS,
    labelSelector: label,
    keep: (object) => (object as ClusterObject & { data: { value: string } }).data.value,
    changed: (now, before) => void heard.push([now, before]),
    failed: (error) => void failures.push(error),
  });
  ended.push(reflector.run(ending.signal));
  return { reflector, failures, heard, values: () => Object.fromEntries(reflector.objects) };
}

describe('an API server', () => {
  test('says what it could not do, in words for people and for programs', async () => {
    const missing = await api.request('GET', `${MAPS}/none`).catch((error: unknown) => error);
    expect(missing).toBeInstanceOf(StatusError);
    expect(missing).toMatchObject({
      code: 404,
      reason: 'NotFound',
      message: expect.stringContaining('"none"'),
    });
    expect(isNotFound(missing)).toBe(true);
    await api.request('POST', MAPS, { body: mapOf('taken') });
    const taken = await api.request('POST', MAPS, { body: mapOf('taken') }).catch((error: unknown) => error);
    expect(isConflict(taken)).toBe(true);
    const unknown = connect(await plane.kubeconfigOf('nobody'));
    await expect(unknown.request('GET', MAPS)).rejects.toMatchObject({ code: 403, reason: 'Forbidden' });
  });

  test('is asked for no other path than was said', async () => {
    for (const name of ['../../kube-system/configmaps/extension-apiserver-authentication', '..', '%2e%2e'])
      await expect(api.request('GET', `${MAPS}/${name}`)).rejects.toThrow('is no path');
  });

  test('that is not there is said to be away', async () => {
    await plane.apiServer.kill();
    await expect(api.request('GET', MAPS)).rejects.toMatchObject({ code: 0 });
    await plane.apiServer.start();
    await expect(api.request('GET', MAPS)).resolves.toMatchObject({ kind: 'ConfigMapList' });
  });
});

describe('a reflector', () => {
  test('knows all that is there, page by page, and what happens to it', async () => {
    const names = Array.from({ length: 600 }, (_, index) => `page-${index}`);
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(names.slice(at, at + 50).map((name) => put(name, 'first', { of: 'pages' })));
    const { reflector, heard, values } = follow('of=pages');
    await reflector.filled;
    expect(reflector.objects.size).toBe(600);
    await put('page-1', 'second', { of: 'pages' });
    await remove('page-2');
    await put('page-new', 'third', { of: 'pages' });
    await expect
      .poll(() => heard.slice(600), SOON)
      .toEqual([
        ['second', 'first'],
        [undefined, 'first'],
        ['third', undefined],
      ]);
    expect(values()['default/page-new']).toBe('third');
  });

  test('misses nothing while the server is away, or after it has forgotten what came meanwhile', async () => {
    await put('away-kept', 'one', { of: 'away' });
    await put('away-gone', 'one', { of: 'away' });
    const { reflector, failures, values } = follow('of=away');
    await reflector.filled;
    await plane.apiServer.kill();
    await expect.poll(() => failures.length, SOON).toBeGreaterThan(0);
    await plane.apiServer.start();
    await put('away-kept', 'two', { of: 'away' });
    await remove('away-gone');
    await put('away-new', 'one', { of: 'away' });
    await plane.compact();
    await expect.poll(values, SOON).toEqual({ 'default/away-kept': 'two', 'default/away-new': 'one' });
  });

  test('lists again what the server no longer knows how to go on from', async () => {
    await put('gone-a', 'one', { of: 'gone' });
    let forgets = 0;
    const forgetful: ApiServer = {
      request: (...call) => api.request(...call),
      async *watch(path, call) {
        forgets += 1;
        if (forgets === 1) yield { type: 'ERROR', object: { code: 410, reason: 'Expired' } };
        yield* api.watch(
          path,
          forgets === 2 ? { ...call, query: { ...call?.query, resourceVersion: '1' } } : call,
        );
      },
    };
    const { reflector, failures, values, heard } = follow('of=gone', forgetful);
    await reflector.filled;
    await put('gone-b', 'one', { of: 'gone' });
    await expect.poll(values, SOON).toEqual({ 'default/gone-a': 'one', 'default/gone-b': 'one' });
    expect(failures).toEqual([]);
    expect(heard.filter(([, before]) => before === undefined)).toHaveLength(2);
  });

  test('goes on when its watch is cut every half second', async () => {
    const cut: ApiServer = {
      request: (...call) => api.request(...call),
      watch: (path, call = {}) =>
        api.watch(path, {
          ...call,
          signal: AbortSignal.any([
            AbortSignal.timeout(500),
            ...(call.signal === undefined ? [] : [call.signal]),
          ]),
        }),
    };
    const { reflector, values } = follow('of=cut', cut);
    await reflector.filled;
    const wanted: Record<string, string> = {};
    for (let count = 0; count < 30; count += 1) {
      await put(`cut-${count % 7}`, `${count}`, { of: 'cut' });
      wanted[`default/cut-${count % 7}`] = `${count}`;
      await sleep(100);
    }
    await expect.poll(values, SOON).toEqual(wanted);
  });

  test('takes names and labels alone where no more is wanted', async () => {
    await put('meta', 'a long text', { of: 'meta' });
    const seen: ClusterObject[] = [];
    const reflector = new Reflector<ClusterObject>(api, {
      ...{
        path: MAPS,
        labelSelector: 'of=meta',
        accept: METADATA_ONLY,
        keep: (object: ClusterObject) => object,
      },
      changed: (now) => void (now && seen.push(now)),
      failed: () => {},
    });
    ended.push(reflector.run(ending.signal));
    await reflector.filled;
    await put('meta-2', 'another', { of: 'meta' });
    await expect.poll(() => seen.map(({ metadata }) => metadata.name), SOON).toEqual(['meta', 'meta-2']);
    for (const each of seen) expect(each).not.toHaveProperty('data');
  });
});

describe('a lease', () => {
  const TIMES = { durationMs: 3_000, renewDeadlineMs: 2_000, retryMs: 300 };

  function elect(
    name: string,
    identity: string,
    asked: ApiServer = api,
    { times = TIMES, ...more }: Pick<LeaseOptions, 'succeeds'> & { times?: typeof TIMES } = {},
  ) {
    const leading: boolean[] = [];
    const own = new AbortController();
    const election = new LeaderElection(
      asked,
      {
        ...{ namespace: 'default', name, identity, failed: () => {}, ...more },
        async lead(signal) {
          leading.push(true);
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
          leading.push(false);
        },
      },
      times,
    );
    const run = election.run(AbortSignal.any([ending.signal, own.signal]));
    ended.push(run);
    return {
      isLeading: () => leading.at(-1) === true,
      async end() {
        own.abort();
        await run;
      },
    };
  }

  test('is one’s alone, and another’s at once when that one ends', async () => {
    const all = ['one', 'two', 'three'].map((identity) => elect('alone', identity));
    const leading = () => all.filter(({ isLeading }) => isLeading());
    await expect.poll(() => leading().length, SOON).toBe(1);
    const [first] = leading();
    await sleep(2 * TIMES.durationMs);
    expect(leading()).toEqual([first]);
    await first?.end();
    await expect.poll(() => leading().length, SOON).toBe(1);
  });

  test('is given up by who can’t renew it before another one may take it', async () => {
    let isCut = false;
    const cut: ApiServer = {
      async request(...call) {
        if (isCut) throw new StatusError({ message: 'cut off' });
        return await api.request(...call);
      },
      watch: (...call) => api.watch(...call),
    };
    const one = elect('cut', 'one', cut);
    await expect.poll(one.isLeading, SOON).toBe(true);
    const two = elect('cut', 'two');
    isCut = true;
    let both = 0;
    while (!two.isLeading()) {
      if (one.isLeading() && two.isLeading()) both += 1;
      await sleep(10);
    }
    expect([one.isLeading(), both]).toEqual([false, 0]);
  });

  test('is not waited for by who knows that its holder leads no longer, which then does not', async () => {
    const times = { durationMs: 3_600_000, renewDeadlineMs: 3_000_000, retryMs: 300 };
    const one = elect('handed', 'one', api, { times });
    await expect.poll(one.isLeading, SOON).toBe(true);
    const two = elect('handed', 'two', api, { times, succeeds: async (holder) => holder === 'one' });
    await expect.poll(() => [one.isLeading(), two.isLeading()], SOON).toEqual([false, true]);
  });
});

test('what has happened to an object is one event that counts', async () => {
  const object = await api.request<ClusterObject>('POST', MAPS, { body: mapOf('told') });
  const failures: unknown[] = [];
  const events = new Events(api, {
    ...{ component: 'drakkar-test', instance: 'here', failed: (error: unknown) => void failures.push(error) },
  });
  for (let count = 0; count < 3; count += 1) {
    const [apiVersion, kind] = ['v1', 'ConfigMap'];
    events.tell({ ...object, apiVersion, kind }, { type: 'Normal', reason: 'Built', message: 'all of it' });
  }
  events.tell(object, { type: 'Warning', reason: 'Failed', message: 'x'.repeat(5_000) });
  const told = async () =>
    (
      await api.request<{ items: { reason: string; message: string; count: number }[] }>(
        'GET',
        '/api/v1/namespaces/default/events',
        { query: { fieldSelector: `involvedObject.uid=${object.metadata.uid}` } },
      )
    ).items;
  await expect
    .poll(async () => (await told()).map(({ reason }) => reason).sort(), SOON)
    .toEqual(['Built', 'Failed']);
  expect((await told()).every(({ message }) => message.length <= 1_024)).toBe(true);
  expect(failures).toEqual([]);
});
