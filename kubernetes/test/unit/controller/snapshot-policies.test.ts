import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Secrets } from '../../../src/controller/secrets.ts';
import { SnapshotPolicies } from '../../../src/controller/snapshot-policies.ts';
import { MemoryPolicies } from '../../kit.ts';
import { MemoryApi } from './memory-api.ts';

const POLICIES = '/apis/drakkar.dev/v1alpha1/snapshotpolicies';
const PODS = '/api/v1/pods';
const NAMESPACES = '/api/v1/namespaces';
const HOUR_MS = 60 * 60_000;

let api: MemoryApi;
let policies: MemoryPolicies;
let controller: SnapshotPolicies;

beforeEach(() => {
  vi.useFakeTimers();
  api = new MemoryApi();
  policies = new MemoryPolicies();
  const log = { info: () => {}, warn: () => {} };
  controller = new SnapshotPolicies({ api, policies, secrets: new Secrets(api), log });
  controller.start();
});
afterEach(async () => {
  await controller[Symbol.asyncDispose]();
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const policy = (name: string, fromPods: object, generation = 1, more: object = {}) =>
  api.put(POLICIES, { name, generation }, { spec: { images: ['**'], fromPods, ...more } });
const pod = (name: string, image: string, more: object = {}, namespace = 'shop') =>
  api.put(PODS, { name, namespace }, { spec: { containers: [{ image }], ...more } });

describe('images of what is about to be started', () => {
  test('are wanted once for each that comes or changes, and for each generation of a policy, however often that is looked at', async () => {
    await pass(0);
    pod('one', 'a:1');
    policy('team', { namespaces: ['shop'] });
    await pass(HOUR_MS);
    expect(policies.timesOf('team')).toBeGreaterThan(100);
    expect(policies.imagesOf('team')).toEqual(['a:1']);
    pod('one', 'a:1', { nodeName: 'somewhere' });
    await pass(HOUR_MS);
    expect(policies.imagesOf('team')).toEqual(['a:1']);
    pod('one', 'a:2');
    pod('elsewhere', 'b', {}, 'other');
    await pass(HOUR_MS);
    expect(policies.imagesOf('team')).toEqual(['a:1', 'a:2']);
    policy('team', { namespaces: ['other'] }, 2);
    await pass(HOUR_MS);
    expect(policies.imagesOf('team')).toEqual(['a:1', 'a:2', 'b']);
  });

  test('are wanted when a namespace has other labels', async () => {
    await pass(0);
    api.put(NAMESPACES, { name: 'shop' });
    policy('labelled', { namespaceSelector: { team: 'a' } });
    pod('one', 'a:1');
    await pass(HOUR_MS);
    expect(policies.wanted).toEqual([]);
    api.put(NAMESPACES, { name: 'shop', labels: { team: 'a' } });
    await pass(0);
    expect(policies.imagesOf('labelled')).toEqual(['a:1']);
    api.put(NAMESPACES, { name: 'shop', labels: { team: 'a' } });
    await pass(HOUR_MS);
    expect(policies.imagesOf('labelled')).toEqual(['a:1']);
  });

  test('leads to no secret of another namespace, however a pod or a service account names one', async () => {
    const names = ['../../b/secrets/regcred', '..', 'Regcred', 'regcred?x', ''];
    const imagePullSecrets = names.map((name) => ({ name }));
    api.hold('/api/v1/namespaces/shop/serviceaccounts/default', { imagePullSecrets });
    pod('one', 'a:1', { imagePullSecrets: [...imagePullSecrets, { name: 'own' }] });
    policy('team', { serviceAccountPullSecrets: true });
    await pass(0);
    expect(policies.imagesOf('team')).toEqual(['a:1']);
    const secrets = api.asked.map(({ path }) => path).filter((path) => path.includes('secrets'));
    expect(secrets).toEqual(['/api/v1/namespaces/shop/secrets/own']);
  });

  test('are wanted without secrets that may not be read, for each policy, and once more when they may', async () => {
    const account = '/api/v1/namespaces/shop/serviceaccounts/puller';
    api.refusals.set(account, 403);
    pod('one', 'a:1', { serviceAccountName: 'puller' });
    policy('first', { serviceAccountPullSecrets: true });
    policy('second', { namespaces: ['shop'] });
    await pass(HOUR_MS);
    for (const name of ['first', 'second']) expect(policies.imagesOf(name)).toEqual(['a:1']);
    expect(api.conditionOf(POLICIES, 'first')).toMatchObject({
      ...{ status: 'True', reason: 'SecretForbidden' },
      message: expect.stringContaining('the service account shop/puller may not be read'),
    });
    expect(api.conditionOf(POLICIES, 'second')).toMatchObject({ status: 'True', reason: 'InForce' });
    api.refusals.delete(account);
    api.hold(account, {});
    await pass(HOUR_MS);
    expect(policies.imagesOf('first')).toEqual(['a:1', 'a:1']);
    expect(api.conditionOf(POLICIES, 'first')).toMatchObject({ status: 'True', reason: 'InForce' });
    expect(policies.imagesOf('second')).toEqual(['a:1']);
  });

  test('are not asked about where nothing is started with them any more', async () => {
    const account = '/api/v1/namespaces/shop/serviceaccounts/default';
    await pass(0);
    policy('team', { serviceAccountPullSecrets: true });
    for (const name of ['one', 'two', 'three']) pod(name, 'a:1');
    await pass(0);
    expect(api.timesOf(account)).toBe(1);
    await pass(HOUR_MS);
    expect(api.timesOf(account)).toBeGreaterThan(30);
    for (const name of ['one', 'two', 'three']) api.remove(PODS, { name, namespace: 'shop' });
    await pass(0);
    const before = api.timesOf(account);
    await pass(HOUR_MS);
    expect(api.timesOf(account)).toBe(before);
    expect(api.conditionOf(POLICIES, 'team')).toMatchObject({ reason: 'InForce' });
  });

  test('are not wanted where what they wait for is answered after the end', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const [account, secret] = ['serviceaccounts/default', 'secrets/own'].map(
      (name) => `/api/v1/namespaces/shop/${name}`,
    ) as [string, string];
    for (const path of [account, secret]) api.delays.set(path, promise);
    pod('one', 'a:1');
    policy('team', { serviceAccountPullSecrets: true });
    policy('other', {}, 1, { pullSecrets: [{ namespace: 'shop', name: 'own' }] });
    await pass(0);
    const ended = controller[Symbol.asyncDispose]();
    resolve();
    await ended;
    expect(api.asked.filter(({ path }) => [account, secret].includes(path))).toHaveLength(2);
    expect(api.asked.every(({ signal }) => signal?.aborted)).toBe(true);
    expect(policies.wanted).toEqual([]);
    expect([...policies.kept.keys()]).toEqual(['team']);
  });

  test('are followed while a policy wants it, and no longer', async () => {
    const followed = () =>
      [PODS, '/apis/apps/v1/deployments', NAMESPACES].filter((path) => api.isWatched(path));
    api.put(POLICIES, { name: 'whole', generation: 1 }, { spec: { images: ['**'] } });
    await pass(HOUR_MS);
    expect(policies.timesOf('whole')).toBeGreaterThan(0);
    expect(followed()).toEqual([]);
    policy('first', {});
    policy('second', {});
    await pass(0);
    expect(followed()).toHaveLength(3);
    api.remove(POLICIES, { name: 'first' });
    await pass(0);
    expect(followed()).toHaveLength(3);
    api.remove(POLICIES, { name: 'second' });
    await pass(0);
    expect(followed()).toEqual([]);
    pod('one', 'a:1');
    policy('third', {});
    await pass(0);
    expect(policies.imagesOf('third')).toEqual(['a:1']);
  });

  test('that may not be followed are said to be so, until they may', async () => {
    api.refusals.set(PODS, 403);
    policy('team', {});
    api.put(POLICIES, { name: 'whole', generation: 1 }, { spec: { images: ['**'] } });
    const said = async () => {
      await pass(1_000);
      return api.conditionOf(POLICIES, 'team');
    };
    await expect.poll(said).toMatchObject({
      ...{ status: 'False', reason: 'WorkloadsForbidden' },
      message: 'pods may not be followed; bind the ClusterRole drakkar-from-pods to this supernode',
    });
    expect(api.conditionOf(POLICIES, 'whole')).toMatchObject({ status: 'True', reason: 'InForce' });
    pod('one', 'a:1');
    api.refusals.delete(PODS);
    await expect.poll(async () => (await said())?.status).toBe('True');
    expect(policies.imagesOf('team')).toEqual(['a:1']);
  });
});
