import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type ControlPlane,
  imageOf,
  layerOf,
  type Nodes,
  pushImage,
  type Registry,
  startControlPlane,
  startNodes,
  startRegistry,
  tarArchive,
} from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fleet, startFleet } from '../../src/fleet/fleet.ts';

const SOON = { timeout: 60_000, interval: 200 };
const BASE = join(import.meta.dirname, '../../../deploy/kubernetes/base');
/** As whom a supernode's pod asks the API server. */
const ACCOUNT = 'system:serviceaccount:drakkar:drakkar-supernode';
const USER = { username: 'puller', password: 'a password' };

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let nodes: Nodes;
let fleet: Fleet;
let account: string;

beforeAll(async () => {
  plane = running.use(await startControlPlane());
  await plane.kubectl(['apply', '--kustomize', BASE]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd/imagesnapshots.drakkar.dev']);
  account = await plane.kubeconfigOf(ACCOUNT, ['system:serviceaccounts', 'system:authenticated']);
  const names = ['host-0', 'host-1', 'host-2'];
  nodes = running.use(
    await startNodes(
      plane,
      names.map((name, index) => ({ name, labels: { pool: `${index % 2}` } })),
    ),
  );
  fleet = running.use(
    await startFleet({
      hosts: names.length,
      daemon: (index) => (index === 0 ? { swarm: { roles: ['builder'] } } : {}),
      supernode: { kubernetes: { enabled: true, kubeconfig: account, joinSecret: 'drakkar-join' } },
    }),
  );
});
afterAll(() => running[Symbol.asyncDispose]());

/** @returns its manifest's digest */
async function push(
  repository: string,
  { url }: Pick<Registry, 'url'> = fleet.registry,
  more: object = {},
): Promise<string> {
  const layers = [layerOf(tarArchive([{ name: 'data', data: randomBytes(300_000) }]))];
  const image = imageOf({ layers });
  await pushImage(url, image, { repository, tag: 'latest', ...more });
  return image.manifest.digest;
}
const apply = (name: string, spec: object, kind = 'ImageSnapshot') =>
  plane.kubectl(['apply', '--filename', '-'], {
    input: JSON.stringify({ apiVersion: 'drakkar.dev/v1alpha1', kind, metadata: { name }, spec }),
  });
const read = async (name: string) =>
  JSON.parse(await plane.kubectl(['get', 'imagesnapshot', name, '--output=json'])) as {
    status?: { conditions?: { type: string; status: string }[]; images?: object[]; nodes?: object };
  };
const isReady = async (name: string) =>
  (await read(name)).status?.conditions?.find(({ type }) => type === 'Ready')?.status;
/** How many snapshots each host has. */
const snapshots = () => Promise.all(fleet.hosts.map(async ({ client }) => (await client.snapshots()).length));

describe('an ImageSnapshot in a real cluster', () => {
  test('is resolved from the registry, built by a host, and on every node before a pod asks', async () => {
    const digest = await push('team/app');
    const image = `${fleet.registry.host}/team/app:latest`;
    await apply('app', { images: [image] });
    await plane.kubectl(['wait', '--for=condition=Ready', 'imagesnapshot/app', '--timeout=60s']);
    expect((await read('app')).status).toMatchObject({
      images: [{ image, platform: 'linux/amd64', phase: 'Ready', manifest: digest }],
      nodes: { desired: 3, ready: 3 },
    });
    expect(await snapshots()).toEqual([1, 1, 1]);
    expect(await plane.kubectl(['describe', 'imagesnapshot', 'app'])).toMatch(/Normal +Ready /);
    await apply('app', { images: [image], distribution: { nodeSelector: { pool: '1' } } });
    await expect.poll(async () => (await read('app')).status?.nodes, SOON).toEqual({ desired: 1, ready: 1 });
    await plane.kubectl(['delete', 'imagesnapshot', 'app', '--timeout=60s']);
    await expect.poll(snapshots, SOON).toEqual([0, 0, 0]);
  });

  test('is on a node that joins, and goes on when the supernode was killed in the middle', async () => {
    await push('team/later');
    await apply('later', { images: [`${fleet.registry.host}/team/later:latest`] });
    await fleet.supernode.kill();
    await nodes.remove('host-2');
    await fleet.supernode.start();
    await expect.poll(() => isReady('later'), SOON).toBe('True');
    expect((await read('later')).status?.nodes).toEqual({ desired: 2, ready: 2 });
    await nodes.add({ name: 'host-2' });
    await expect
      .poll(async () => (await read('later')).status?.nodes, SOON)
      .toEqual({ desired: 3, ready: 3 });
    await plane.kubectl(['delete', 'imagesnapshot', 'later', '--timeout=60s']);
  });
});

test('a private image is read with the secret that is named', async () => {
  const auth = Buffer.from(`${USER.username}:${USER.password}`).toString('base64');
  await using registry = await startRegistry({ users: { [USER.username]: USER.password } });
  await push('team/private', registry, { headers: { Authorization: `Basic ${auth}` } });
  const image = `${registry.host}/team/private:latest`;
  await apply('private', { images: [image] });
  const said = async () => JSON.stringify((await read('private')).status);
  await expect.poll(said, SOON).toContain('RegistryRefuses');
  const config = JSON.stringify({ auths: { [registry.host]: { auth } } });
  const type = 'kubernetes.io/dockerconfigjson';
  const literal = `--from-literal=.dockerconfigjson=${config}`;
  await plane.kubectl(['create', 'secret', 'generic', 'registry', `--type=${type}`, literal]);
  const pullSecrets = [{ namespace: 'default', name: 'registry' }];
  await apply('private', { images: [image], pullSecrets });
  // Nobody has let it.
  await expect.poll(said, SOON).toContain('SecretForbidden');
  await plane.kubectl([
    ...['create', 'rolebinding', 'drakkar', '--clusterrole=drakkar-pull-secrets'],
    '--serviceaccount=drakkar:drakkar-supernode',
  ]);
  await expect.poll(() => isReady('private'), SOON).toBe('True');
  await plane.kubectl(['delete', 'imagesnapshot', 'private', '--timeout=60s']);
});

test('an image that a pod waits for has a snapshot without anything being written for it', async () => {
  await push('pods/app');
  const image = `${fleet.registry.host}/pods/app:latest`;
  const policy = { images: [`${fleet.registry.host}/pods/*`], fromPods: { namespaces: ['default'] } };
  const binding = JSON.parse(
    await plane.kubectl(['get', 'clusterrolebinding', 'drakkar-from-pods', '--output=json']),
  );
  await plane.kubectl(['delete', 'clusterrolebinding', 'drakkar-from-pods']);
  await apply('pods', { ...policy, triggers: { push: false, firstPull: false } }, 'SnapshotPolicy');
  const reason = '--for=jsonpath={.status.conditions[0].reason}=WorkloadsForbidden';
  await plane.kubectl(['wait', reason, 'snapshotpolicy/pods', '--timeout=60s']);
  await plane.kubectl(['apply', '--filename', '-'], { input: JSON.stringify(binding) });
  await plane.kubectl(['wait', '--for=condition=Ready', 'snapshotpolicy/pods', '--timeout=60s']);
  const before = await snapshots();
  const labels = { app: 'web' };
  const spec = { containers: [{ name: 'main', image }] };
  const deployment = {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  };
  await plane.kubectl(['apply', '--filename', '-'], { input: JSON.stringify(deployment) });
  await expect.poll(snapshots, SOON).toEqual(before.map((count) => count + 1));
  const made = (await fleet.supernode.client.policies()).map(({ name }) => name);
  expect(made).toContain('kubernetes-pods');
  await plane.kubectl(['delete', 'snapshotpolicy', 'pods', '--timeout=60s']);
  expect((await fleet.supernode.client.policies()).map(({ name }) => name)).not.toContain('kubernetes-pods');
});

test('what is pushed to a private registry is read with the secrets of its policy', async () => {
  const auth = Buffer.from(`${USER.username}:${USER.password}`).toString('base64');
  const { client } = fleet.supernode;
  const hook = await client.createWebhook({ name: 'private', kind: 'distribution' });
  const url = (await client.status()).apiUrl + hook.path;
  await using registry = await startRegistry({
    users: { [USER.username]: USER.password },
    notifies: { url, headers: { Authorization: `Bearer ${hook.secret}` } },
  });
  const tell = (repository: string) =>
    push(repository, registry, { headers: { Authorization: `Basic ${auth}` } });
  const built = async (repository: string) => {
    const jobs = await client.jobs();
    return jobs
      .filter(({ spec }) => spec.kind === 'build' && spec.image?.includes(`/${repository}:`))
      .map(({ state, createdBy, error }) => ({ state, createdBy, code: error?.code }));
  };
  const createdBy = 'policy kubernetes-pushed';
  const team = ['--namespace=team'];
  await plane.kubectl(['create', 'namespace', 'team']);
  const config = JSON.stringify({ auths: { [registry.host]: { auth } } });
  await plane.kubectl([
    ...['create', 'secret', 'generic', 'registry', ...team, '--type=kubernetes.io/dockerconfigjson'],
    `--from-literal=.dockerconfigjson=${config}`,
  ]);
  const pullSecrets = [{ namespace: 'team', name: 'registry' }];
  await apply('pushed', { images: [`${registry.host}/pushed/*`], pullSecrets }, 'SnapshotPolicy');
  const why = ['get', 'snapshotpolicy', 'pushed', '--output=jsonpath={.status.conditions[*].reason}'];
  await expect.poll(() => plane.kubectl(why), SOON).toBe('SecretForbidden');
  await tell('pushed/refused');
  const refused = { createdBy, state: 'failed', code: 'unauthorized' };
  await expect.poll(() => built('pushed/refused'), SOON).toEqual([refused]);
  await plane.kubectl([
    ...['create', 'rolebinding', 'drakkar', ...team, '--clusterrole=drakkar-pull-secrets'],
    '--serviceaccount=drakkar:drakkar-supernode',
  ]);
  await plane.kubectl(['wait', '--for=condition=Ready', 'snapshotpolicy/pushed', '--timeout=120s']);
  const before = await snapshots();
  await tell('pushed/app');
  await expect.poll(snapshots, SOON).toEqual(before.map((count) => count + 1));
  expect(await built('pushed/app')).toEqual([{ createdBy, state: 'succeeded' }]);
  await plane.kubectl(['delete', 'snapshotpolicy', 'pushed', '--timeout=60s']);
});

describe('what a supernode may do in a cluster', () => {
  test('is what the manifests say: it has told hosts how to come in', async () => {
    const { joinToken, supernodes } = await fleet.supernode.client.joinToken();
    const read = async () =>
      JSON.parse(
        await plane.kubectl(['get', 'secret', 'drakkar-join', '--namespace=drakkar', '--output=json']),
      ) as { data?: Record<string, string> };
    const text = (value = '') => Buffer.from(value, 'base64').toString();
    await expect.poll(async () => text((await read()).data?.joinToken), SOON).toBe(joinToken);
    expect(text((await read()).data?.supernodes)).toBe(`${supernodes.join('\n')}\n`);
  });

  test.each([
    ['get secrets', 'kube-system'],
    ['list secrets', 'drakkar'],
    ['get secrets/other', 'drakkar'],
    ['create secrets', 'drakkar'],
    ['create pods', 'drakkar'],
    ['delete pods', 'default'],
    ['patch nodes', 'default'],
    ['get configmaps', 'drakkar'],
    ['create deployments.apps', 'drakkar'],
    ['delete imagesnapshots.drakkar.dev', 'default'],
    ['create imagesnapshots.drakkar.dev', 'default'],
    ['update leases.coordination.k8s.io/other', 'drakkar'],
    ['create serviceaccounts/token', 'drakkar'],
    ['impersonate users', 'default'],
    ['create clusterrolebindings.rbac.authorization.k8s.io', 'default'],
  ])('is not to %s in %s', async (what, namespace) => {
    const asked = ['auth', 'can-i', ...what.split(' '), `--namespace=${namespace}`];
    const answer = await plane
      .kubectl(asked, { kubeconfig: account })
      .catch(({ stdout }: { stdout: string }) => stdout);
    expect(answer.trim()).toBe('no');
  });
});
