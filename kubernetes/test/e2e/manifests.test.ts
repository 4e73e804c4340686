import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { bindClaim, type ControlPlane, startControlPlane, startNodes } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const BASE = join(import.meta.dirname, '../../../deploy/kubernetes/base');
const OVERLAYS = join(BASE, '../overlays');
/** Of what overlays name and the API server does not know by itself. */
const MONITORING = ['ServiceMonitor', 'PrometheusRule'];
const CONTROLLERS = [
  ...['deployment-controller', 'replicaset-controller', 'daemonset-controller', 'disruption-controller'],
];
const SUPERNODE = 'deployment/drakkar-supernode';
const DAEMON = 'daemonset/drakkar-daemon';

const running = new AsyncDisposableStack();
let plane: ControlPlane;

beforeAll(async () => {
  plane = running.use(await startControlPlane({ controllers: CONTROLLERS, scheduler: true }));
  running.use(await startNodes(plane, [{ name: 'one' }, { name: 'two' }]));
});
afterAll(() => running[Symbol.asyncDispose]());

const within = (...args: string[]) => plane.kubectl(['--namespace', 'drakkar', ...args]);
const rolledOut = (what: string) => within('rollout', 'status', what, '--timeout=120s');
const imageOf = (what: string) =>
  within('get', what, '--output=jsonpath={.spec.template.spec.containers[0].image}');
/** What new pods need to prove themselves is not waited for: these do nothing. */
const atOnce = (what: string) =>
  within('patch', what, '--type=merge', '--patch={"spec":{"minReadySeconds":0}}');
const podsOf = async (component: string) =>
  (await within('get', 'pods', `--selector=app.kubernetes.io/component=${component}`, '--output=name'))
    .trim()
    .split('\n');

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
    expect(output).toContain('daemonset.apps/drakkar-daemon created (server dry run)');
  });

  test.each([
    { what: SUPERNODE, component: 'supernode', container: 'supernode', count: 1 },
    { what: DAEMON, component: 'daemon', container: 'daemon', count: 2 },
  ])('have a $component rolled out, updated and rolled back by the real controllers', async (each) => {
    const { what, component, container, count } = each;
    await plane.kubectl(['apply', '--kustomize', BASE]);
    await atOnce(what);
    if (what === SUPERNODE) await bindClaim(plane, 'drakkar', 'drakkar-supernode');
    await rolledOut(what);
    const before = await imageOf(what);
    await within('set', 'image', what, `${container}=drakkar.dev/drakkar:next`);
    await rolledOut(what);
    expect(await imageOf(what)).toBe('drakkar.dev/drakkar:next');
    await within('rollout', 'undo', what);
    await rolledOut(what);
    expect(await imageOf(what)).toBe(before);
    await expect.poll(() => podsOf(component), { timeout: 30_000 }).toHaveLength(count);
  });

  test.each([...readdirSync(OVERLAYS).map((overlay) => join('overlays', overlay)), 'undo'])(
    'are taken with %s, too',
    async (other) => {
      await defineMonitoring();
      const output = await plane.kubectl([
        ...['apply', '--kustomize', join(BASE, '..', other), '--dry-run=server', '--warnings-as-errors'],
      ]);
      expect(output).toContain('(server dry run)');
    },
  );

  test('for several supernodes have one after the other rolled out, each on a node of its own', async () => {
    await plane.kubectl(['apply', '--kustomize', join(OVERLAYS, 'redis')]);
    await atOnce(SUPERNODE);
    await rolledOut(SUPERNODE);
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
