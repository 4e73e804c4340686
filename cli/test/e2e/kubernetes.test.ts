import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { AdminClient } from '@drakkar/client';
import {
  bindClaim,
  buildContainerd2,
  type ClusterPod,
  type ControlPlane,
  helperProcesses,
  Kubelet,
  type Machine,
  pauseImage,
  type Registry,
  sleepFile,
  startControlPlane,
  startMachine,
  startNodes,
  startRegistry,
  temporaryDirectory,
} from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../../..');
const MANIFESTS = join(ROOT, 'deploy/kubernetes');
const CONTROLLERS = ['daemonset-controller', 'deployment-controller', 'replicaset-controller'];
const NAMESPACE = 'drakkar';
const NODE = 'node';
const SUPERNODE = 'drakkar-supernode.drakkar.svc';
const LOOPBACK = '127.0.0.1';
const SOON = { timeout: 120_000, interval: 200 };
const FILES = 24;
const FILE_BYTES = 2 * 1024 * 1024;

describe.skipIf(process.getuid?.() !== 0)('a node, by the manifests alone (needs root)', () => {
  const running = new AsyncDisposableStack();
  let plane: ControlPlane;
  let registry: Registry;
  let machine: Machine;
  let kubelet: Kubelet;
  let node: AdminClient;
  let directory: string;
  let before: string;
  let image: string;

  const within = (...args: string[]) => plane.kubectl(['--namespace', NAMESPACE, ...args]);
  const rolledOut = (what: string) => within('rollout', 'status', what, '--timeout=180s');
  const configuration = () => readFile(machine.pathOf('/etc/containerd/config.toml'), 'utf8');

  /** The manifests, with what a test needs otherwise. */
  async function kustomization(): Promise<string> {
    const own = join(directory, 'kustomization');
    await mkdir(own);
    const daemon = await readFile(join(MANIFESTS, 'base/daemon/config.yaml'), 'utf8');
    await writeFile(join(own, 'config.yaml'), `${daemon}volumes:\n  background: 'off'\n`);
    const generator = {
      ...{ name: 'drakkar-daemon-configuration', namespace: NAMESPACE, behavior: 'merge' },
      files: ['config.yaml'],
    };
    const text = { resources: [relative(own, join(MANIFESTS, 'base'))], configMapGenerator: [generator] };
    await writeFile(join(own, 'kustomization.yaml'), JSON.stringify(text));
    return own;
  }

  beforeAll(async () => {
    plane = running.use(await startControlPlane({ controllers: CONTROLLERS, scheduler: true }));
    registry = running.use(await startRegistry());
    directory = running.use(await temporaryDirectory('kubernetes-node')).path;
    const sandboxImage = await push(registry, pauseImage(), 'pause');
    const programs = await buildContainerd2();
    machine = running.use(await startMachine({ sandboxImage, programs }));
    await run(join(ROOT, 'scripts/package-image'), [join(directory, 'image')]);
    const archive = join(directory, 'image.tar');
    await run('tar', ['--create', '--file', archive, '--directory', join(directory, 'image'), '.']);
    const images = (...args: string[]) =>
      machine.containerd.ctr(['--namespace', 'k8s.io', 'images', ...args]);
    await images('import', archive);
    const [name = ''] = (await images('ls', '--quiet')).split('\n').filter((line) => /drakkar:/.test(line));
    await images('tag', name, 'drakkar.dev/drakkar:latest');
    before = await configuration();
    const hosts = { [SUPERNODE]: LOOPBACK };
    kubelet = new Kubelet({ node: NODE, plane, machine, hosts, directory: join(directory, 'kubelet') });
    running.use(await startNodes(plane, [{ name: NODE }], kubelet));
    await plane.kubectl(['apply', '--kustomize', await kustomization()]);
    await bindClaim(plane, NAMESPACE, 'drakkar-supernode');
    node = new AdminClient(machine.pathOf('/var/lib/drakkar/admin.sock'));
    const files = Array.from({ length: FILES }, (_, index) => ({
      name: `data/${index}`,
      data: randomBytes(FILE_BYTES),
    }));
    const cat = { name: 'bin/cat', mode: 0o755, data: readFileSync('/usr/bin/cat') };
    image = await push(registry, shellImage({}, [sleepFile(), cat, ...files]), 'team/app');
  });
  afterAll(() => running[Symbol.asyncDispose]());

  async function runPod(name: string, script: string): Promise<ClusterPod> {
    const pod = {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: { name, annotations: { 'io.containerd.cri.runtime-handler': 'drakkar' } },
      spec: {
        runtimeClassName: 'drakkar',
        containers: [{ name: 'main', image, command: ['/bin/sh', '-c', script] }],
      },
    };
    await plane.kubectl(['apply', '--filename', '-'], { input: JSON.stringify(pod) });
    await plane.kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=120s']);
    return JSON.parse(await plane.kubectl(['get', 'pod', name, '--output=json'])) as ClusterPod;
  }

  test('has a supernode and a daemon, which comes in by the Secret', async () => {
    await rolledOut('deployment/drakkar-supernode');
    await rolledOut('daemonset/drakkar-daemon');
    const connected = async () => (await node.status()).swarm?.supernode.up;
    await expect.poll(connected, SOON).toBe(true);
  });

  test('starts pods of the runtime class from snapshots, and others as before', async () => {
    const [configured, mirrors] = [await configuration(), '/etc/containerd/certs.d/_default/hosts.toml'];
    expect(configured).toContain('snapshotter = "drakkar"');
    expect(await readFile(machine.pathOf(mirrors), 'utf8')).toContain('4001');
    const secret = JSON.parse(await within('get', 'secret', 'drakkar-join', '--output=json')) as {
      data: Record<string, string>;
    };
    const text = (key: string) =>
      Buffer.from(secret.data[key] ?? '', 'base64')
        .toString()
        .trim();
    running.use(
      await startHost({
        swarm: {
          ...{ supernode: text('supernodes').replace(SUPERNODE, LOOPBACK), joinToken: text('joinToken') },
          ...{ name: 'builder', roles: ['builder'], address: LOOPBACK },
          ...{ controlPort: 0, dataPort: 0, mdns: false },
        },
      }),
    );
    const snapshot = {
      ...{ apiVersion: 'drakkar.dev/v1alpha1', kind: 'ImageSnapshot', metadata: { name: 'app' } },
      spec: { images: [image], distribution: { scope: 'None' } },
    };
    await plane.kubectl(['apply', '--filename', '-'], { input: JSON.stringify(snapshot) });
    await plane.kubectl(['wait', '--for=condition=Ready', 'imagesnapshot/app', '--timeout=120s']);
    const pod = await runPod('first', 'read line < /etc/passwd; echo $line; exec /bin/sleep infinity');
    await expect.poll(() => kubelet.output(pod, 'main'), SOON).toContain('root:x:0:0');
    const [mine] = (await node.snapshots()).filter(({ image: name }) => name.includes('team/app'));
    expect(mine?.origin).toBe('cluster');
    const upon = await machine.containerd.snapshots('drakkar', 'k8s.io');
    expect(upon.size).toBeGreaterThan(0);
    await plane.kubectl(['delete', 'pod', 'first', '--grace-period=1']);
  });

  test('is updated while a pod reads what is not there yet, which notices nothing', async () => {
    const read =
      'i=0; while [ $i -lt 24 ]; do cat /data/$i > /dev/null || exit 1; echo read $i; i=$((i+1)); /bin/sleep 0.5; done; echo all; exec /bin/sleep infinity';
    const pod = await runPod('reader', read);
    const output = () => kubelet.output(pod, 'main');
    await expect.poll(output, SOON).toContain('read 1');
    const holders = helperProcesses('/var/lib/drakkar-native', ['hold']);
    expect(holders).not.toEqual([]);
    await within('rollout', 'restart', 'daemonset/drakkar-daemon');
    await rolledOut('daemonset/drakkar-daemon');
    expect(await output()).not.toContain('all');
    await expect.poll(output, SOON).toContain('all');
    expect(helperProcesses('/var/lib/drakkar-native', ['hold'])).toEqual(holders);
    await plane.kubectl(['delete', 'pod', 'reader', '--grace-period=1']);
  });

  test('has its containerd as it was, once that is undone', async () => {
    await within('delete', 'daemonset', 'drakkar-daemon', '--timeout=60s');
    await plane.kubectl(['apply', '--kustomize', join(MANIFESTS, 'undo')]);
    await rolledOut('daemonset/drakkar-undo');
    expect(await configuration()).toBe(before);
  });

  test('leaves nothing in the cluster where objects go first, and then what looks after them', async () => {
    await plane.kubectl(['delete', 'imagesnapshots,snapshotpolicies', '--all', '--timeout=60s']);
    await plane.kubectl(['delete', '--kustomize', join(MANIFESTS, 'undo'), '--timeout=60s']);
    await plane.kubectl([
      'delete',
      '--kustomize',
      join(MANIFESTS, 'base'),
      '--ignore-not-found',
      '--wait=false',
    ]);
    const left = () => plane.kubectl(['get', 'crds,clusterroles,clusterrolebindings', '--output=name']);
    await expect.poll(left, SOON).not.toContain('drakkar');
  });
});
