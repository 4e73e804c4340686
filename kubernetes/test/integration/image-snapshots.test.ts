import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ControlPlane,
  digestNamed,
  MemoryFleet,
  type Nodes,
  startControlPlane,
  startNodes,
} from '@drakkar/lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ApiServer, connectApiServer, Events } from '../../src/cluster/index.ts';
import { ImageSnapshots } from '../../src/controller/image-snapshots.ts';
import { followNodes } from '../../src/controller/nodes.ts';
import { Secrets } from '../../src/controller/secrets.ts';
import { labelOf, ToldNodes } from '../../src/controller/told-nodes.ts';
import { API_VERSION, GROUP, type ImageSnapshotStatus } from '../../src/index.ts';

const SOON = { timeout: 30_000, interval: 50 };
const PATH = `/apis/${API_VERSION}/imagesnapshots`;
const DEFINITIONS = join(import.meta.dirname, '../../../deploy/kubernetes/crds');

interface Read {
  readonly metadata: { readonly finalizers?: string[]; readonly generation: number };
  readonly status?: ImageSnapshotStatus;
}

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let nodes: Nodes;
let api: ApiServer;
let fleet: MemoryFleet;
let ended: AsyncDisposableStack;

beforeAll(async () => {
  plane = running.use(await startControlPlane());
  await plane.kubectl(['apply', '--kustomize', DEFINITIONS]);
  await plane.kubectl(['wait', '--for=condition=Established', `crd/imagesnapshots.${GROUP}`]);
  nodes = running.use(
    await startNodes(
      plane,
      ['one', 'two'].map((name) => ({ name, labels: { pool: name } })),
    ),
  );
  api = connectApiServer({ kubeconfig: plane.kubeconfig, context: null });
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(async () => {
  ended = new AsyncDisposableStack();
  fleet = new MemoryFleet();
  for (const host of ['one', 'two']) fleet.hosts.add(host);
  start();
});
afterEach(() => ended[Symbol.asyncDispose]());

/** A controller of its own, as each supernode that leads has one. */
function start(asked: ApiServer = api): ImageSnapshots {
  const log = { info: () => {}, warn: () => {} };
  const ending = new AbortController();
  const events = new Events(asked, { component: 'drakkar-test', instance: 'here', failed: () => {} });
  const reflector = followNodes(asked, log, () => controller.nodesChanged());
  const secrets = new Secrets(asked);
  const told = new ToldNodes({ api: asked, most: 2, log });
  const controller = new ImageSnapshots({ api: asked, fleet, secrets, events, nodes: reflector, told, log });
  ended.use(told);
  controller.start();
  const following = reflector.run(ending.signal);
  ended.defer(async () => {
    ending.abort();
    await following;
  });
  return ended.use(controller);
}

async function apply(name: string, spec: object): Promise<void> {
  const body = { apiVersion: API_VERSION, kind: 'ImageSnapshot', metadata: { name }, spec };
  const query = { fieldManager: 'user', force: true };
  await api.request('PATCH', `${PATH}/${name}`, { body, query, contentType: 'application/apply-patch+yaml' });
}
const read = (name: string) => api.request<Read>('GET', `${PATH}/${name}`);
const remove = (name: string) => api.request('DELETE', `${PATH}/${name}`);
const condition = async (name: string, type: string) =>
  (await read(name)).status?.conditions?.find((each) => each.type === type);
const isReady = async (name: string) => {
  const { status, metadata } = await read(name);
  if (status?.observedGeneration !== metadata.generation) return 'not looked at';
  return status.conditions?.find(({ type }) => type === 'Ready')?.status;
};
const pinned = (text: string) => `docker.io/library/${text}@${digestNamed(text)}`;

describe('the controller of ImageSnapshots', () => {
  test('brings about what is written, says so, follows edits, and takes away what is deleted', async () => {
    await apply('whole', { images: ['a'] });
    await expect.poll(() => isReady('whole'), SOON).toBe('True');
    expect((await read('whole')).status).toMatchObject({
      ...{ ready: '1/1', nodes: { desired: 2, ready: 2 } },
      images: [{ image: 'a', platform: 'linux/amd64', phase: 'Ready', digest: digestNamed('a') }],
    });
    await apply('whole', { images: ['b'], distribution: { nodeSelector: { pool: 'one' } } });
    await expect.poll(() => isReady('whole'), SOON).toBe('True');
    await expect.poll(() => fleet.asks('evict'), SOON).toEqual([pinned('a')]);
    expect((await read('whole')).status?.nodes).toMatchObject({ desired: 1, ready: 1 });
    await remove('whole');
    await expect
      .poll(
        () =>
          read('whole').then(
            () => 'there',
            () => 'gone',
          ),
        SOON,
      )
      .toBe('gone');
    expect(fleet.asks('evict')).toEqual([pinned('a'), pinned('b')]);
    const { items } = await api.request<{ items: { reason: string; involvedObject: { name: string } }[] }>(
      'GET',
      '/api/v1/namespaces/default/events',
    );
    const told = items.filter(({ involvedObject }) => involvedObject.name === 'whole');
    expect(told.map(({ reason }) => reason)).toEqual(expect.arrayContaining(['Resolved', 'Built', 'Ready']));
  });

  test('writes nothing where nothing has changed', async () => {
    await apply('quiet', { images: ['a'] });
    await expect.poll(() => isReady('quiet'), SOON).toBe('True');
    const versionOf = async () => (await read('quiet')).metadata;
    await sleep(1_500);
    const before = await versionOf();
    await sleep(3_000);
    expect(await versionOf()).toEqual(before);
    await remove('quiet');
  });

  test('says why an image is not there, and tries again', async () => {
    fleet.failing.set('a', { code: 'unauthorized', message: 'the registry wants a password' });
    await apply('failing', { images: ['a'] });
    await expect
      .poll(() => condition('failing', 'Resolved'), SOON)
      .toMatchObject({
        ...{ status: 'False', reason: 'RegistryRefuses', observedGeneration: 1 },
        message: 'a for linux/amd64: the registry wants a password',
      });
    fleet.failing.clear();
    // After an edit nobody waits for the next attempt.
    await apply('failing', { images: ['a', 'b'] });
    await expect.poll(async () => (await read('failing')).status?.ready, SOON).toBe('2/2');
    await remove('failing');
  });

  test.each([
    ['missing', undefined, 'SecretNotFound', 'there is no secret default/missing'],
    ['opaque', { type: 'Opaque', stringData: { password: 'x' } }, 'SecretWrongType', 'is of the type Opaque'],
    [
      'broken',
      { type: 'kubernetes.io/dockerconfigjson', stringData: { '.dockerconfigjson': '{"auths":{"a":3}}' } },
      'SecretInvalid',
      'is no configuration of Docker’s',
    ],
  ])('says of the secret %s what is wrong with it', async (name, secret, reason, message) => {
    if (secret !== undefined) {
      const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, ...secret };
      await api.request('POST', '/api/v1/namespaces/default/secrets', { body });
    }
    await apply(`with-${name}`, { images: ['a'], pullSecrets: [{ namespace: 'default', name }] });
    await expect
      .poll(() => condition(`with-${name}`, 'Ready'), SOON)
      .toMatchObject({ status: 'False', reason });
    expect((await condition(`with-${name}`, 'Ready'))?.message).toContain(message);
    expect(fleet.asks('build')).toEqual([]);
    await remove(`with-${name}`);
  });

  test('shows registries what a secret of each of the two types holds', async () => {
    const auth = Buffer.from('me:secret').toString('base64');
    const auths = { 'registry.example': { auth } };
    const secrets = {
      newer: {
        type: 'kubernetes.io/dockerconfigjson',
        key: '.dockerconfigjson',
        text: JSON.stringify({ auths }),
      },
      older: { type: 'kubernetes.io/dockercfg', key: '.dockercfg', text: JSON.stringify(auths) },
    };
    for (const [name, { type, key, text }] of Object.entries(secrets)) {
      const body = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name },
        type,
        stringData: { [key]: text },
      };
      await api.request('POST', '/api/v1/namespaces/default/secrets', { body });
      const image = `registry.example/${name}`;
      await apply(name, { images: [image], pullSecrets: [{ namespace: 'default', name }] });
      await expect.poll(() => isReady(name), SOON).toBe('True');
      const [asked] = fleet.asked.filter(({ spec }) => spec.image === image);
      const lent = fleet.lent.get(asked?.owner ?? '');
      expect(lent?.of('registry.example')).toEqual({ username: 'me', password: 'secret' });
      expect(lent?.of('other.example')).toBeUndefined();
      await remove(name);
    }
  });

  test('counts nodes as they come and go', async () => {
    await apply('nodes', { images: ['a'] });
    await expect.poll(() => isReady('nodes'), SOON).toBe('True');
    await nodes.add({ name: 'three', labels: {} });
    await expect
      .poll(async () => (await read('nodes')).status?.nodes, SOON)
      .toEqual({ desired: 3, ready: 2 });
    expect(await condition('nodes', 'Ready')).toMatchObject({ status: 'False' });
    await nodes.remove('three');
    await expect.poll(() => isReady('nodes'), SOON).toBe('True');
    await remove('nodes');
  });

  test('labels nodes with what they have all of, the first by name, so that schedulers can prefer them', async () => {
    const labelsOf = async (node: string) => {
      const { metadata } = await api.request<{ metadata: { labels: Record<string, string> } }>(
        'GET',
        `/api/v1/nodes/${node}`,
      );
      return Object.keys(metadata.labels)
        .filter((label) => label.startsWith(labelOf('')))
        .sort();
    };
    const names = ['label-a', 'label-b', 'label-c'];
    for (const name of names)
      await apply(name, {
        images: [name],
        distribution: { nodeSelector: name === 'label-b' ? { pool: 'one' } : {} },
      });
    await expect.poll(() => labelsOf('one'), SOON).toEqual(['label-a', 'label-b'].map(labelOf));
    await expect.poll(() => labelsOf('two'), SOON).toEqual([labelOf('label-a')]);
    await remove('label-a');
    await expect.poll(() => labelsOf('one'), SOON).toEqual(['label-b', 'label-c'].map(labelOf));
    for (const name of names.slice(1)) await remove(name);
    await expect.poll(() => labelsOf('one'), SOON).toEqual([]);
    expect(await labelsOf('two')).toEqual([]);
  });

  test('goes on where another one has ended, in the middle', async () => {
    fleet.isStuck = true;
    await apply('taken-over', { images: ['a', 'b'] });
    await expect.poll(() => fleet.asks('build').length, SOON).toBe(2);
    await ended[Symbol.asyncDispose]();
    ended = new AsyncDisposableStack();
    fleet.endAll();
    start();
    await expect.poll(() => isReady('taken-over'), SOON).toBe('True');
    expect([fleet.asks('build').sort(), fleet.asks('keep').length]).toEqual([['a', 'b'], 2]);
    await remove('taken-over');
  });

  test('asks for nothing twice where two are at it at once', async () => {
    start();
    const names = Array.from({ length: 10 }, (_, index) => `two-${index}`);
    await Promise.all(names.map((name) => apply(name, { images: [name] })));
    for (const name of names) await expect.poll(() => isReady(name), SOON).toBe('True');
    expect(fleet.asks('build').sort()).toEqual([...names].sort());
    expect(fleet.asks('keep')).toHaveLength(names.length);
    await Promise.all(names.map(remove));
    for (const name of names)
      await expect
        .poll(
          () =>
            read(name).then(
              () => 'there',
              () => 'gone',
            ),
          SOON,
        )
        .toBe('gone');
  });

  test('loses nothing while the API server is killed and comes back', async () => {
    fleet.isStuck = true;
    await apply('outage', { images: ['a'] });
    await expect.poll(() => fleet.asks('build'), SOON).toEqual(['a']);
    await plane.apiServer.kill();
    fleet.endAll();
    await sleep(1_000);
    await plane.apiServer.start();
    await plane.compact();
    await expect.poll(() => isReady('outage').catch(() => 'away'), { ...SOON, timeout: 60_000 }).toBe('True');
    expect(fleet.asks('build')).toEqual(['a']);
    await remove('outage');
  });
});
