import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlPlane, startControlPlane, startNodes } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const BASE = join(import.meta.dirname, '../../../deploy/kubernetes/base');
const OVERLAYS = join(BASE, '../overlays');
/** Of what overlays name and the API server does not know by itself. */
const MONITORING = ['ServiceMonitor', 'PodMonitor', 'PrometheusRule'];
const CONTROLLERS = ['deployment-controller', 'replicaset-controller', 'disruption-controller'];
const SUPERNODE = 'deployment/drakkar-supernode';

const running = new AsyncDisposableStack();
let plane: ControlPlane;

beforeAll(async () => {
  plane = running.use(await startControlPlane({ controllers: CONTROLLERS, scheduler: true }));
  running.use(await startNodes(plane, [{ name: 'one' }, { name: 'two' }]));
});
afterAll(() => running[Symbol.asyncDispose]());

const within = (...args: string[]) => plane.kubectl(['--namespace', 'drakkar', ...args]);
const rolledOut = () => within('rollout', 'status', SUPERNODE, '--timeout=120s');
const imageOf = () => within('get', SUPERNODE, '--output=jsonpath={.spec.template.spec.containers[0].image}');

/** As a storage system does: no controller here has any. */
async function bindDisk(): Promise<void> {
  const claim = { namespace: 'drakkar', name: 'drakkar-supernode' };
  const spec = {
    ...{ capacity: { storage: '20Gi' }, accessModes: ['ReadWriteOnce'], claimRef: claim },
    hostPath: { path: '/var/lib/disk' },
  };
  await plane.kubectl(['apply', '--filename', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'disk' }, spec }),
  });
  const path = `/api/v1/namespaces/${claim.namespace}/persistentvolumeclaims/${claim.name}`;
  const bound = {
    metadata: { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
    spec: { volumeName: 'disk' },
  };
  const merge = 'application/merge-patch+json';
  expect((await plane.ask('PATCH', path, bound, merge)).status).toBe(200);
  expect((await plane.ask('PATCH', `${path}/status`, { status: { phase: 'Bound' } }, merge)).status).toBe(
    200,
  );
}

/** The Prometheus Operator's resources, whatever stands in them. */
async function defineMonitoring(): Promise<void> {
  const group = 'monitoring.coreos.com';
  const items = MONITORING.map((kind) => {
    const singular = kind.toLowerCase();
    const plural = `${singular}s`;
    const openAPIV3Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    return {
      ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' },
      metadata: { name: `${plural}.${group}` },
      spec: {
        ...{ group, scope: 'Namespaced', names: { kind, singular, plural } },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } }],
      },
    };
  });
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  await plane.kubectl(['apply', '--filename', '-'], { input });
  await plane.kubectl(['wait', '--for=condition=Established', '--filename', '-'], { input });
}

describe('the manifests', () => {
  test('are what the API server takes, all of them, without a warning', async () => {
    await plane.kubectl(['apply', '--kustomize', `${BASE}/../crds`]);
    await plane.kubectl(['create', '--filename', `${BASE}/namespace.yaml`]);
    const output = await plane.kubectl([
      'apply',
      '--kustomize',
      BASE,
      '--dry-run=server',
      '--warnings-as-errors',
    ]);
    expect(output).toContain('deployment.apps/drakkar-supernode created (server dry run)');
  });

  test('have a supernode rolled out, updated and rolled back by the real controllers', async () => {
    await plane.kubectl(['apply', '--kustomize', BASE]);
    await bindDisk();
    await rolledOut();
    const before = await imageOf();
    await within('set', 'image', SUPERNODE, 'supernode=drakkar.dev/drakkar:next');
    await rolledOut();
    expect(await imageOf()).toBe('drakkar.dev/drakkar:next');
    await within('rollout', 'undo', SUPERNODE);
    await rolledOut();
    expect(await imageOf()).toBe(before);
    const pods = (await within('get', 'pods', '--output=name')).trim().split('\n');
    expect(pods).toHaveLength(1);
  });

  test.each(readdirSync(OVERLAYS))('with the overlay %s are taken, too', async (overlay) => {
    await defineMonitoring();
    const output = await plane.kubectl([
      ...['apply', '--kustomize', join(OVERLAYS, overlay), '--dry-run=server', '--warnings-as-errors'],
    ]);
    expect(output).toContain('(server dry run)');
  });

  test('for several supernodes have one after the other rolled out, each on a node of its own', async () => {
    await plane.kubectl(['apply', '--kustomize', join(OVERLAYS, 'redis')]);
    // What a new supernode needs to have its hosts is not waited for: there are none.
    await within('patch', SUPERNODE, '--type=merge', '--patch={"spec":{"minReadySeconds":0}}');
    await rolledOut();
    const of = ['get', 'pods', '--selector=app.kubernetes.io/component=supernode'];
    const nodes = () => within(...of, '--output=jsonpath={.items[*].spec.nodeName}');
    await expect.poll(async () => (await nodes()).split(' ').sort()).toEqual(['one', 'two']);
    expect(await within(...of, '--output=json')).not.toContain('persistentVolumeClaim');
    const budget = ['get', 'poddisruptionbudget', 'drakkar-supernode'];
    const allowed = () =>
      within(...budget, '--output=jsonpath={.status.disruptionsAllowed}/{.status.expectedPods}');
    await expect.poll(allowed).toBe('1/2');
  });

  test('are taken away again with all that they made', async () => {
    await plane.kubectl(['delete', '--kustomize', BASE, '--wait=false']);
    await expect.poll(() => within('get', 'deployments', '--output=name'), { timeout: 30_000 }).toBe('');
  });
});
