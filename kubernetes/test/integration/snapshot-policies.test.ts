import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, MemoryFleet } from '@drakkar/lab';
import { DrakkarError } from '@drakkar/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ApiServer } from '../../src/cluster/index.ts';
import type { PolicyRules } from '../../src/controller/contract.ts';
import {
  connect,
  MemoryPolicies,
  SOON,
  snapshotPoliciesOf,
  startControllers,
  startOurPlane,
} from '../kit.ts';

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let api: ApiServer;
let policies: MemoryPolicies;
let ours: ReturnType<typeof snapshotPoliciesOf>;
let controllers: AsyncDisposable;

beforeAll(async () => {
  plane = running.use(await startOurPlane());
  api = connect(plane.kubeconfig);
  ours = snapshotPoliciesOf(api);
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  policies = new MemoryPolicies();
  controllers = startControllers(api, new MemoryFleet(), policies);
});
afterEach(async () => {
  await controllers[Symbol.asyncDispose]();
  await plane.kubectl(['delete', 'snapshotpolicies', '--all', '--wait=false']);
});

async function make(path: string, body: object): Promise<void> {
  await api.request('POST', path, { body });
}
const namespace = (name: string, labels: object = {}) =>
  make('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
const podSpec = (image: string, more: object = {}) => ({ containers: [{ name: 'main', image }], ...more });
const pod = (space: string, name: string, spec: object) =>
  make(`/api/v1/namespaces/${space}/pods`, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });

describe('the controller of SnapshotPolicies', () => {
  test('has what one says be in force, follows edits, and takes away what is deleted', async () => {
    await ours.apply('whole', { images: ['**'], refresh: { interval: '10m' }, retention: { unused: '24h' } });
    await expect
      .poll(() => ours.statusOf('whole'), SOON)
      .toMatchObject({
        ...{ observedGeneration: 1, images: 3, pending: 1 },
        conditions: [{ type: 'Ready', status: 'True', reason: 'InForce' }],
      });
    expect(policies.kept.get('whole')).toMatchObject({
      ...{ isOn: true, images: ['**'], onPush: true, onFirstPull: true, atOnce: 2 },
      ...{ refreshMs: 600_000, keepMs: 86_400_000 },
    });
    await ours.apply('whole', { images: ['**'], suspend: true, triggers: { push: false } });
    await expect
      .poll(() => ours.statusOf('whole'), SOON)
      .toMatchObject({ conditions: [{ status: 'False', reason: 'Suspended', observedGeneration: 2 }] });
    expect(policies.kept.get('whole')).toMatchObject({ isOn: false, onPush: false, refreshMs: null });
    await ours.remove('whole');
    await ours.untilGone('whole');
    expect([...policies.kept.keys()]).toEqual([]);
  });

  test('takes away what is kept of one that went while nobody looked', async () => {
    await ours.apply('stays', { images: ['**'] });
    await expect.poll(() => policies.kept.get('stays'), SOON).toBeDefined();
    await controllers[Symbol.asyncDispose]();
    policies.kept.set('gone', { ...policies.kept.get('stays') } as PolicyRules);
    controllers = startControllers(api, new MemoryFleet(), policies);
    await expect.poll(() => [...policies.kept.keys()], SOON).toEqual(['stays']);
  });

  test('says what is wrong with one', async () => {
    policies.refusal = new DrakkarError(
      'invalid_argument',
      'spec.images[0]: "a:b:c": is no pattern of images',
    );
    await ours.apply('wrong', { images: ['a:b:c'] });
    await expect
      .poll(() => ours.statusOf('wrong'), SOON)
      .toMatchObject({
        conditions: [
          {
            status: 'False',
            reason: 'InvalidSpec',
            message: 'spec.images[0]: "a:b:c": is no pattern of images',
          },
        ],
      });
  });

  test('has images of pods that wait and of Deployments be snapshotted, in the namespaces that it names', async () => {
    await namespace('shop', { team: 'a' });
    await namespace('other', { team: 'b' });
    await pod(
      'shop',
      'before',
      podSpec('shop/before:1', { initContainers: [{ name: 'init', image: 'shop/init' }] }),
    );
    await pod('other', 'before', podSpec('other/before:1'));
    await ours.apply('pods', { images: ['**'], fromPods: { namespaces: ['shop'] } });
    await ours.apply('labels', { images: ['**'], fromPods: { namespaceSelector: { team: 'b' } } });
    await ours.apply('none', { images: ['**'] });
    await expect.poll(() => policies.imagesOf('pods'), SOON).toEqual(['shop/before:1', 'shop/init']);
    await expect.poll(() => policies.imagesOf('labels'), SOON).toEqual(['other/before:1']);
    const labels = { app: 'web' };
    await make('/apis/apps/v1/namespaces/shop/deployments', {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: podSpec('shop/web:2') },
      },
    });
    await pod('other', 'after', podSpec('other/after:1'));
    await expect.poll(() => policies.imagesOf('pods'), SOON).toContain('shop/web:2');
    await expect.poll(() => policies.imagesOf('labels'), SOON).toEqual(['other/after:1', 'other/before:1']);
    await sleep(500);
    expect(policies.imagesOf('none')).toEqual([]);
    expect(policies.imagesOf('pods')).not.toContain('other/after:1');
  });

  test('uses pull secrets of pods and their service accounts where it says so, and only there', async () => {
    await namespace('private');
    const secret = async (name: string, registry: string) =>
      await make('/api/v1/namespaces/private/secrets', {
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name }, type: 'kubernetes.io/dockerconfigjson' },
        stringData: {
          '.dockerconfigjson': JSON.stringify({ auths: { [registry]: { username: name, password: 'x' } } }),
        },
      });
    await secret('of-pod', 'one.example');
    await secret('of-account', 'two.example');
    await make('/api/v1/namespaces/private/serviceaccounts', {
      ...{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'puller' } },
      imagePullSecrets: [{ name: 'of-account' }],
    });
    const spec = podSpec('one.example/a', {
      imagePullSecrets: [{ name: 'of-pod' }],
      serviceAccountName: 'puller',
    });
    await pod('private', 'waits', spec);
    await ours.apply('with', {
      images: ['**'],
      fromPods: { namespaces: ['private'], serviceAccountPullSecrets: true },
    });
    await ours.apply('without', { images: ['**'], fromPods: { namespaces: ['private'] } });
    const shown = (name: string) => {
      const secrets = policies.wanted.find((each) => each.name === name)?.secrets;
      return ['one.example', 'two.example'].map(
        (registry) => secrets?.of({ registry, repository: 'a' })?.username,
      );
    };
    await expect.poll(() => shown('with'), SOON).toEqual(['of-pod', 'of-account']);
    await expect.poll(() => policies.imagesOf('without'), SOON).toHaveLength(1);
    expect(shown('without')).toEqual([undefined, undefined]);
  });
});
