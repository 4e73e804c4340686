import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, digestNamed, type MemoryFleet, type Nodes, startNodes } from '@drakkar/lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ApiServer, isNotFound } from '../../src/cluster/index.ts';
import { labelOf } from '../../src/controller/told-nodes.ts';
import { GROUP } from '../../src/index.ts';
import { connect, fleetOf, imageSnapshotsOf, SOON, startControllers, startOurPlane } from '../kit.ts';

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let nodes: Nodes;
let api: ApiServer;
let snapshots: ReturnType<typeof imageSnapshotsOf>;
let fleet: MemoryFleet;
let ended: AsyncDisposableStack;

beforeAll(async () => {
  plane = running.use(await startOurPlane());
  nodes = running.use(
    await startNodes(
      plane,
      ['one', 'two'].map((name) => ({ name, labels: { pool: name } })),
    ),
  );
  api = connect(plane.kubeconfig);
  snapshots = imageSnapshotsOf(api);
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(async () => {
  ended = new AsyncDisposableStack();
  fleet = fleetOf('one', 'two');
  start();
});
afterEach(() => ended[Symbol.asyncDispose]());

const start = () => void ended.use(startControllers(api, fleet));
const pinned = (text: string) => `docker.io/library/${text}@${digestNamed(text)}`;

async function labelsOf(node: string): Promise<string[]> {
  const { metadata } = await api.request<{ metadata: { labels: Record<string, string> } }>(
    'GET',
    `/api/v1/nodes/${node}`,
  );
  return Object.keys(metadata.labels)
    .filter((label) => label.startsWith(labelOf('')))
    .sort();
}

/** It goes, whatever finalizer it has. */
async function force(name: string): Promise<void> {
  await snapshots.remove(name);
  const body = { metadata: { finalizers: null } };
  const contentType = 'application/merge-patch+json';
  await api
    .request('PATCH', `${snapshots.path}/${name}`, { body, contentType })
    .catch((error: unknown) => expect(isNotFound(error)).toBe(true));
}

describe('the controller of ImageSnapshots', () => {
  test('brings about what is written, says so, follows edits, and takes away what is deleted', async () => {
    await snapshots.apply('whole', { images: ['a'] });
    await snapshots.untilReady('whole');
    expect(await snapshots.statusOf('whole')).toMatchObject({
      ...{ ready: '1/1', nodes: { desired: 2, ready: 2 } },
      images: [{ image: 'a', platform: 'linux/amd64', phase: 'Ready', digest: digestNamed('a') }],
    });
    await snapshots.apply('whole', { images: ['b'], distribution: { nodeSelector: { pool: 'one' } } });
    await snapshots.untilReady('whole');
    await expect.poll(() => fleet.asks('evict'), SOON).toEqual([pinned('a')]);
    expect((await snapshots.statusOf('whole'))?.nodes).toMatchObject({ desired: 1, ready: 1 });
    await snapshots.remove('whole');
    await snapshots.untilGone('whole');
    expect(fleet.asks('evict')).toEqual([pinned('a'), pinned('b')]);
    const { items } = await api.request<{ items: { reason: string; involvedObject: { name: string } }[] }>(
      'GET',
      '/api/v1/namespaces/default/events',
    );
    const told = items.filter(({ involvedObject }) => involvedObject.name === 'whole');
    expect(told.map(({ reason }) => reason)).toEqual(expect.arrayContaining(['Resolved', 'Built', 'Ready']));
  });

  test('writes nothing where nothing has changed', async () => {
    await snapshots.apply('quiet', { images: ['a'] });
    await snapshots.untilReady('quiet');
    const versionOf = async () => (await snapshots.read('quiet')).metadata;
    await sleep(1_500);
    const before = await versionOf();
    await sleep(3_000);
    expect(await versionOf()).toEqual(before);
    await snapshots.remove('quiet');
  });

  test('does not write each time that bytes have moved', async () => {
    await snapshots.apply('moving', { images: ['a'] });
    await snapshots.untilReady('moving');
    await sleep(1_500);
    const { metadata } = await snapshots.read('moving');
    for (let times = 0; times < 8; times += 1) {
      fleet.move(1_000);
      await sleep(400);
    }
    expect((await snapshots.read('moving')).metadata).toEqual(metadata);
    // With what is written anyhow it is.
    await snapshots.apply('moving', { images: ['a', 'b'] });
    await snapshots.untilReady('moving');
    expect((await snapshots.statusOf('moving'))?.images?.[0]).toMatchObject({ upstreamBytes: 8_000 });
    await snapshots.remove('moving');
  });

  test('says again what somebody else has written over', async () => {
    await snapshots.apply('scribbled', { images: ['a'] });
    await snapshots.untilReady('scribbled');
    await sleep(1_500);
    const body = { status: { ready: '0/99', images: [], conditions: [] } };
    const contentType = 'application/merge-patch+json';
    await api.request('PATCH', `${snapshots.path}/scribbled/status`, { body, contentType });
    await snapshots.untilReady('scribbled');
    expect(await snapshots.statusOf('scribbled')).toMatchObject({ ready: '1/1' });
    expect(fleet.asks('build')).toEqual(['a']);
    await snapshots.remove('scribbled');
  });

  test('leaves to other controllers what they say', async () => {
    await snapshots.apply('shared', { images: ['a'] });
    await snapshots.untilReady('shared');
    const scan = async (status: string) => {
      const lastTransitionTime = new Date().toISOString();
      const scanned = { type: 'Scanned', status, reason: 'Scan', message: 'as it is', lastTransitionTime };
      const { apiVersion, kind, metadata } = await snapshots.read('shared');
      const body = { apiVersion, kind, metadata: { name: metadata.name }, status: { conditions: [scanned] } };
      const query = { fieldManager: 'scanner' };
      const contentType = 'application/apply-patch+yaml';
      // Without force: what somebody else says of it is a conflict.
      await api.request('PATCH', `${snapshots.path}/shared/status`, { body, query, contentType });
    };
    for (const [index, status] of ['True', 'False', 'True'].entries()) {
      await scan(status);
      await snapshots.apply('shared', { images: ['a', `b${index}`] });
      await snapshots.untilReady('shared');
      expect(await snapshots.condition('shared', 'Scanned')).toMatchObject({ status });
    }
    await snapshots.remove('shared');
  });

  test('says why an image is not there, and tries again', async () => {
    fleet.failing.set('a', { code: 'unauthorized', message: 'the registry wants a password' });
    await snapshots.apply('failing', { images: ['a'] });
    await expect
      .poll(() => snapshots.condition('failing', 'Resolved'), SOON)
      .toMatchObject({
        ...{ status: 'False', reason: 'RegistryRefuses', observedGeneration: 1 },
        message: 'a for linux/amd64: the registry wants a password',
      });
    fleet.failing.clear();
    // After an edit nobody waits for the next attempt.
    await snapshots.apply('failing', { images: ['a', 'b'] });
    await expect.poll(async () => (await snapshots.statusOf('failing'))?.ready, SOON).toBe('2/2');
    await snapshots.remove('failing');
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
    await snapshots.apply(`with-${name}`, { images: ['a'], pullSecrets: [{ namespace: 'default', name }] });
    await expect
      .poll(() => snapshots.condition(`with-${name}`, 'Ready'), SOON)
      .toMatchObject({ status: 'False', reason });
    expect((await snapshots.condition(`with-${name}`, 'Ready'))?.message).toContain(message);
    expect(fleet.asks('build')).toEqual([]);
    await snapshots.remove(`with-${name}`);
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
      await snapshots.apply(name, { images: [image], pullSecrets: [{ namespace: 'default', name }] });
      await snapshots.untilReady(name);
      const [asked] = fleet.asked.filter(({ spec }) => spec.image === image);
      const lent = fleet.lent.get(asked?.owner ?? '');
      expect(lent?.of({ registry: 'registry.example', repository: 'a' })).toEqual({
        username: 'me',
        password: 'secret',
      });
      expect(lent?.of({ registry: 'other.example', repository: 'a' })).toBeUndefined();
      await snapshots.remove(name);
    }
  });

  test('counts nodes as they come and go', async () => {
    await snapshots.apply('nodes', { images: ['a'] });
    await snapshots.untilReady('nodes');
    await nodes.add({ name: 'three', labels: {} });
    await expect
      .poll(async () => (await snapshots.statusOf('nodes'))?.nodes, SOON)
      .toEqual({ desired: 3, ready: 2 });
    expect(await snapshots.condition('nodes', 'Ready')).toMatchObject({ status: 'False' });
    await nodes.remove('three');
    await snapshots.untilReady('nodes');
    await snapshots.remove('nodes');
  });

  test('labels nodes with what they have all of, the first by name, so that schedulers can prefer them', async () => {
    const names = ['label-a', 'label-b', 'label-c'];
    for (const name of names)
      await snapshots.apply(name, {
        images: [name],
        distribution: { nodeSelector: name === 'label-b' ? { pool: 'one' } : {} },
      });
    await expect.poll(() => labelsOf('one'), SOON).toEqual(['label-a', 'label-b'].map(labelOf));
    await expect.poll(() => labelsOf('two'), SOON).toEqual([labelOf('label-a')]);
    await snapshots.remove('label-a');
    await expect.poll(() => labelsOf('one'), SOON).toEqual(['label-b', 'label-c'].map(labelOf));
    for (const name of names.slice(1)) await snapshots.remove(name);
    await expect.poll(() => labelsOf('one'), SOON).toEqual([]);
    await expect.poll(() => labelsOf('two'), SOON).toEqual([]);
  });

  test('goes on where another one has ended, in the middle', async () => {
    fleet.isStuck = true;
    await snapshots.apply('taken-over', { images: ['a', 'b'] });
    await expect.poll(() => fleet.asks('build').length, SOON).toBe(2);
    await ended[Symbol.asyncDispose]();
    ended = new AsyncDisposableStack();
    fleet.endAll();
    start();
    await snapshots.untilReady('taken-over');
    expect([fleet.asks('build').sort(), fleet.asks('keep').length]).toEqual([['a', 'b'], 2]);
    await snapshots.remove('taken-over');
  });

  test('ends what those have asked for that went while nobody looked', async () => {
    await snapshots.apply('stays', { images: ['stays'] });
    await snapshots.apply('forced', { images: ['forced'] });
    await snapshots.untilReady('stays', 'forced');
    const ownerOf = async (name: string) => (await snapshots.read(name)).metadata.uid;
    const [stays, forced] = [await ownerOf('stays'), await ownerOf('forced')];
    await ended[Symbol.asyncDispose]();
    ended = new AsyncDisposableStack();
    await force('forced');
    expect(fleet.isKept(pinned('forced'), 'linux/amd64', '')).toBe(true);
    start();
    await expect.poll(() => [...fleet.owners()], SOON).toEqual([stays]);
    expect(fleet.isKept(pinned('forced'), 'linux/amd64', '')).toBe(false);
    expect([...fleet.ordersOf(forced)]).toEqual([]);
    expect(fleet.isKept(pinned('stays'), 'linux/amd64', '')).toBe(true);
    await snapshots.remove('stays');
    await snapshots.untilGone('stays');
    await expect.poll(() => [...fleet.owners()], SOON).toEqual([]);
  });

  test('ends what one has asked for whose finalizer somebody has taken off, and its labels', async () => {
    await snapshots.apply('taken-off', { images: ['a'] });
    await expect.poll(() => labelsOf('one'), SOON).toEqual([labelOf('taken-off')]);
    // What it has asked for when it is deleted does not end.
    fleet.isStuck = true;
    await force('taken-off');
    await expect.poll(() => [...fleet.owners()], SOON).toEqual([]);
    await expect.poll(() => labelsOf('one'), SOON).toEqual([]);
  });

  test('ends what one has asked for that is deleted with a spec that is none any more', async () => {
    await snapshots.apply('outdated', { images: ['a'] });
    await snapshots.untilReady('outdated');
    await ended[Symbol.asyncDispose]();
    ended = new AsyncDisposableStack();
    const [definition, schema] = [`crd/imagesnapshots.${GROUP}`, '/spec/versions/0/schema/openAPIV3Schema'];
    const before = await plane.kubectl(['get', definition, '--output=json']);
    const loose = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    const patch = JSON.stringify([{ op: 'replace', path: schema, value: loose }]);
    await plane.kubectl(['patch', definition, '--type=json', `--patch=${patch}`]);
    await expect
      .poll(
        () =>
          snapshots.apply('outdated', { images: ['a', 7] }).then(
            () => true,
            () => false,
          ),
        SOON,
      )
      .toBe(true);
    const { openAPIV3Schema } = JSON.parse(before).spec.versions[0].schema;
    const back = JSON.stringify([{ op: 'replace', path: schema, value: openAPIV3Schema }]);
    await snapshots.remove('outdated');
    start();
    await snapshots.untilGone('outdated');
    expect([...fleet.owners()]).toEqual([]);
    await plane.kubectl(['patch', definition, '--type=json', `--patch=${back}`]);
  });

  test('asks for nothing twice where two are at it at once', async () => {
    start();
    const names = Array.from({ length: 10 }, (_, index) => `two-${index}`);
    await Promise.all(names.map((name) => snapshots.apply(name, { images: [name] })));
    await snapshots.untilReady(...names);
    expect(fleet.asks('build').sort()).toEqual([...names].sort());
    expect(fleet.asks('keep')).toHaveLength(names.length);
    await Promise.all(names.map((name) => snapshots.remove(name)));
    await snapshots.untilGone(...names);
  });
});
