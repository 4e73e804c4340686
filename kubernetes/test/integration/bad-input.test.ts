import {
  type ControlPlane,
  digestNamed,
  type MemoryFleet,
  type Nodes,
  startNodes,
  startUnrulyApi,
  type UnrulyApi,
} from '@drakkar/lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ApiServer } from '../../src/cluster/index.ts';
import { connect, fleetOf, imageSnapshotsOf, SOON, startControllers, startOurPlane } from '../kit.ts';

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let nodes: Nodes;
let api: ApiServer;
let unruly: UnrulyApi;
let snapshots: ReturnType<typeof imageSnapshotsOf>;
let fleet: MemoryFleet;
let controllers: AsyncDisposable;

beforeAll(async () => {
  plane = running.use(await startOurPlane());
  nodes = running.use(await startNodes(plane, [{ name: 'one' }]));
  unruly = running.use(await startUnrulyApi(plane));
  api = connect(plane.kubeconfig);
  snapshots = imageSnapshotsOf(api);
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  fleet = fleetOf('one');
  controllers = startControllers(connect(unruly.kubeconfig), fleet);
});
afterEach(async () => {
  await plane.kubectl(['delete', 'imagesnapshots', '--all', '--timeout=60s']);
  await controllers[Symbol.asyncDispose]();
});

describe('what can’t be brought about', () => {
  test('is said of an image that is not made for a platform, beside those that are', async () => {
    fleet.failing.set('other', { code: 'no_platform', message: 'there is none for linux/amd64' });
    await snapshots.apply('platform', { images: ['good', 'other'] });
    await expect
      .poll(() => snapshots.statusOf('platform'), SOON)
      .toMatchObject({
        ready: '1/2',
        images: [{ phase: 'Ready' }, { phase: 'Failed', reason: 'PlatformNotFound' }],
      });
    expect(await snapshots.condition('platform', 'Ready')).toMatchObject({
      ...{ status: 'False', reason: 'PlatformNotFound' },
      message: 'other for linux/amd64: there is none for linux/amd64',
    });
    await snapshots.apply('platform', { images: ['good'] });
    await snapshots.untilReady('platform');
    expect(fleet.asks('build')).toEqual(['good', 'other']);
  });

  test('is said of a selector that no node has, until one does', async () => {
    await snapshots.apply('nowhere', { images: ['a'], distribution: { nodeSelector: { disk: 'fast' } } });
    await expect
      .poll(() => snapshots.condition('nowhere', 'Ready'), SOON)
      .toMatchObject({ status: 'False', reason: 'NoNodesMatch', message: 'no node has these labels' });
    await nodes.add({ name: 'fast', labels: { disk: 'fast' } });
    fleet.hosts.add('fast');
    await snapshots.untilReady('nowhere');
    expect((await snapshots.statusOf('nowhere'))?.nodes).toEqual({ desired: 1, ready: 1 });
    await nodes.remove('fast');
  });

  test('is said of what only looks like a reference, beside what is one', async () => {
    await snapshots.apply('unreadable', { images: ['good', 'registry.example:99999/lower'] });
    await expect
      .poll(() => snapshots.statusOf('unreadable'), SOON)
      .toMatchObject({
        ready: '1/2',
        images: [{ phase: 'Ready' }, { phase: 'Failed', reason: 'InvalidReference' }],
      });
    const named = 'image reference "registry.example:99999/lower" has an invalid registry';
    expect(await snapshots.condition('unreadable', 'Resolved')).toMatchObject({
      ...{ status: 'False', reason: 'InvalidReference', message: expect.stringContaining(named) },
    });
    await snapshots.apply('unreadable', { images: ['good', 'registry.example/lower'] });
    await snapshots.untilReady('unreadable');
  });

  test('is said of an edit that makes a spec invalid, at each condition', async () => {
    await snapshots.apply('edited', { images: ['a'] });
    await snapshots.untilReady('edited');
    const nodeSelector = { ['x'.repeat(400)]: 'y' };
    await snapshots.apply('edited', { images: ['a'], distribution: { nodeSelector } });
    const said = { reason: 'InvalidSpec', observedGeneration: 2 };
    await expect
      .poll(() => snapshots.condition('edited', 'Ready'), SOON)
      .toMatchObject({ status: 'False', ...said });
    for (const type of ['Resolved', 'Built', 'Distributed'])
      expect(await snapshots.condition('edited', type)).toMatchObject({ status: 'Unknown', ...said });
  });

  test('is said of a secret of another type, until it is one that can be used', async () => {
    const secrets = '/api/v1/namespaces/default/secrets';
    const make = (type: string, stringData: object) =>
      api.request('POST', secrets, { body: { metadata: { name: 'registry' }, type, stringData } });
    await expect(
      make('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': 'no JSON' }),
    ).rejects.toMatchObject({ code: 422 });
    await make('Opaque', { password: 'x' });
    await snapshots.apply('secret', {
      images: ['a'],
      pullSecrets: [{ namespace: 'default', name: 'registry' }],
    });
    await expect
      .poll(() => snapshots.condition('secret', 'Ready'), SOON)
      .toMatchObject({ status: 'False', reason: 'SecretWrongType' });
    await api.request('DELETE', `${secrets}/registry`);
    await make('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': '{"auths":{}}' });
    await snapshots.untilReady('secret');
  });
});

test('a status that somebody has spoilt is made anew, and stops no deletion', async () => {
  await snapshots.apply('spoilt', { images: ['a'] });
  await snapshots.untilReady('spoilt');
  const previous = { image: '../../etc', platform: 'x', since: '2020-01-01T00:00:00Z', reason: 'Superseded' };
  const images = [{ image: '../a', platform: 'linux/amd64', phase: 'Ready', digest: digestNamed('a') }];
  await api.request('PATCH', `${snapshots.path}/spoilt/status`, {
    body: { status: { images, previous: [previous], ready: '7/7' } },
    contentType: 'application/merge-patch+json',
  });
  await expect
    .poll(() => snapshots.statusOf('spoilt'), SOON)
    .toMatchObject({
      ready: '1/1',
      images: expect.arrayContaining([expect.objectContaining({ image: 'a', digest: digestNamed('a') })]),
    });
  await snapshots.remove('spoilt');
  await snapshots.untilGone('spoilt');
});

/** So long as a reference may be. */
const longest = (name: string) => `${'r'.repeat(236)}.example/${name.padStart(255, 'a')}:latest`;

test('the largest that there may be is brought about, and replaced, with few requests', async () => {
  const all = (name: string) => Array.from({ length: 100 }, (_, index) => longest(`${name}${index}`));
  const platforms = ['linux/amd64', 'linux/arm64', 'linux/riscv64'];
  const before = unruly.seen.length;
  await snapshots.apply('large', { images: all('a'), platforms });
  await snapshots.untilReady('large');
  await snapshots.apply('large', { images: all('b'), platforms });
  await snapshots.untilReady('large');
  await expect.poll(() => fleet.asks('evict').length, SOON).toBe(300);
  expect(await snapshots.statusOf('large')).toMatchObject({ ready: '300/300', nodes: { ready: 1 } });
  expect([fleet.asks('build').length, fleet.asks('keep').length]).toEqual([600, 600]);
  expect(unruly.seen.length - before).toBeLessThan(100);
});
