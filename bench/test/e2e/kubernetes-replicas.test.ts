import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type ControlPlane,
  imageOf,
  layerOf,
  pushImage,
  startControlPlane,
  startNodes,
  tarArchive,
} from '@drakkar/lab';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fleet, startFleet } from '../../src/fleet/fleet.ts';
import type { FleetSupernode } from '../../src/fleet/supernodes.ts';
import { MEBIBYTE } from '../kit/pushed.ts';

const SOON = { timeout: 120_000, interval: 200 };
const BASE = join(import.meta.dirname, '../../../deploy/kubernetes/base');
const IMAGES = 12;
const SIZE_BYTES = 2 * MEBIBYTE;

interface Lease {
  readonly holderIdentity: string;
  readonly leaseDurationSeconds: number;
  readonly leaseTransitions: number;
  readonly acquireTime: string;
  readonly renewTime: string;
}

const running = new AsyncDisposableStack();
let plane: ControlPlane;
let fleet: Fleet;

beforeAll(async () => {
  plane = running.use(await startControlPlane());
  await plane.kubectl(['apply', '--kustomize', BASE]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd/imagesnapshots.drakkar.dev']);
  const kubeconfig = await plane.kubeconfigOf('system:serviceaccount:drakkar:drakkar-supernode', [
    ...['system:serviceaccounts', 'system:authenticated'],
  ]);
  const names = ['host-0', 'host-1', 'host-2'];
  running.use(
    await startNodes(
      plane,
      names.map((name) => ({ name })),
    ),
  );
  fleet = running.use(
    await startFleet({
      hosts: names.length,
      supernodes: 2,
      supernode: { kubernetes: { enabled: true, kubeconfig, joinSecret: 'drakkar-join' } },
      // Slow enough that something can happen meanwhile.
      daemon: () => ({ swarm: { upstreamRate: 4 * MEBIBYTE, uploadRate: 4 * MEBIBYTE } }),
    }),
  );
});
afterAll(() => running[Symbol.asyncDispose]());

const lease = async () => {
  const asked = ['get', 'lease', 'drakkar-supernode', '--namespace=drakkar', '--output=json'];
  return (JSON.parse(await plane.kubectl(asked)) as { spec: Lease }).spec;
};

/** Where hosts are told in Kubernetes that supernodes are. */
async function toldSupernodes(): Promise<string[]> {
  const path = '--output=jsonpath={.data.supernodes}';
  const told = await plane.kubectl(['get', 'secret', 'drakkar-join', '--namespace=drakkar', path]);
  return Buffer.from(told, 'base64').toString().trim().split('\n');
}

/** @returns the supernode that holds it: each prints its peer when it begins */
function holderOf({ holderIdentity }: Lease): FleetSupernode {
  const peer = holderIdentity.split('_').at(-1);
  const holder = fleet.supernodes.find((each) => each.output().includes(`/${peer}`));
  if (holder === undefined) throw new Error(`${holderIdentity} is no supernode`);
  return holder;
}

/** One image each. */
async function applyAll(of: string): Promise<void> {
  const items = [];
  for (let index = 0; index < IMAGES; index += 1) {
    const layers = [layerOf(tarArchive([{ name: 'data', data: randomBytes(SIZE_BYTES) }]))];
    const name = `${of}-${index}`;
    await pushImage(fleet.registry.url, imageOf({ layers }), { repository: name, tag: 'latest' });
    items.push({
      ...{ apiVersion: 'drakkar.dev/v1alpha1', kind: 'ImageSnapshot', metadata: { name, labels: { of } } },
      spec: { images: [`${fleet.registry.host}/${name}:latest`] },
    });
  }
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  await plane.kubectl(['apply', '--filename', '-'], { input });
}

const phases = async (of: string) => {
  const path = '--output=jsonpath={.items[*].status.images[*].phase}';
  return (await plane.kubectl(['get', 'imagesnapshots', `--selector=of=${of}`, path])).split(' ');
};

/** When one image is on all nodes. */
async function inTheMiddle(of: string): Promise<void> {
  await expect.poll(lease, SOON).toMatchObject({ holderIdentity: expect.any(String) });
  await applyAll(of);
  await expect.poll(() => phases(of), SOON).toContain('Ready');
  expect((await phases(of)).filter((phase) => phase !== 'Ready')).not.toEqual([]);
}

/** Another one holds it, and has not waited until it was over. */
async function takenOver(before: Lease): Promise<Lease> {
  await expect.poll(async () => (await lease()).holderIdentity, SOON).not.toBe(before.holderIdentity);
  const after = await lease();
  expect(after.leaseTransitions).toBe(before.leaseTransitions + 1);
  const overMs = Date.parse(before.renewTime) + before.leaseDurationSeconds * 1_000;
  expect(Date.parse(after.acquireTime)).toBeLessThan(overMs);
  return after;
}

async function allDoneOnce(of: string, { client }: FleetSupernode): Promise<void> {
  const selector = `--selector=of=${of}`;
  await plane.kubectl(['wait', '--for=condition=Ready', 'imagesnapshots', selector, '--timeout=200s']);
  const jobs = (await client.jobs()).filter(
    ({ spec }) => 'image' in spec && spec.image?.includes(`/${of}-`) === true,
  );
  const what = jobs.map(({ spec }) => `${spec.kind} ${'image' in spec ? spec.image : ''}`);
  expect(new Set(what).size).toBe(what.length);
  expect(jobs.filter(({ snapshot }) => snapshot?.found === 'built')).toHaveLength(IMAGES);
}

test('what a supernode was killed in the middle of, another one ends, and does nothing twice', async () => {
  await inTheMiddle('killed');
  const before = await lease();
  const killed = holderOf(before);
  await killed.kill('SIGKILL');
  const after = await takenOver(before);
  await expect.poll(toldSupernodes, SOON).toHaveLength(1);
  await allDoneOnce('killed', holderOf(after));
  await killed.start();
  await expect.poll(toldSupernodes, SOON).toHaveLength(2);
  expect((await lease()).holderIdentity).toBe(after.holderIdentity);
});

test('one that was stopped for a while does not go on with what another one has taken over', async () => {
  await inTheMiddle('stopped');
  const before = await lease();
  const { pid } = holderOf(before);
  process.kill(pid, 'SIGSTOP');
  const after = await takenOver(before);
  process.kill(pid, 'SIGCONT');
  await allDoneOnce('stopped', holderOf(after));
  expect((await lease()).holderIdentity).toBe(after.holderIdentity);
});
