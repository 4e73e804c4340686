import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdminClient, type SnapshotSummary } from '@drakkar/client';
import { nativeHelper } from '@drakkar/daemon';
import { mountsBelow, type Registry, startContainerd, startRegistry } from '@drakkar/lab';
import { DrakkarError, formatReference, parseReference } from '@drakkar/protocol';
import type { Context } from '../context.ts';
import { type RunReport, runImage } from '../run/run-image.ts';
import { type Cluster, pullOn, startCluster } from './cluster.ts';
import {
  type ContainerdStart,
  GRACE_MS,
  OUTPUT_DEADLINE_MS,
  startWithContainerd,
} from './containerd-start.ts';
import { type DemoImage, pushDemoImage } from './demo-image.ts';
import { type PodReport, startPod } from './pod.ts';
import { type DemoResult, demoScreen, type ThirdHost } from './screen.ts';
import { startMachine } from './up.ts';

export interface DemoOptions {
  /** An image that this machine can reach, instead of one made here. */
  readonly image: string | undefined;
  /** End when it has been shown. */
  readonly once: boolean;
}

/** 1 Gbit/s, in bytes per second. */
const LINK_RATE = 125_000_000;
const LOOK_MS = 200;
const KILL_EVERY_MS = 200;

/** On a disk, unlike /tmp on many machines; removed at the end. */
const DEMO_PARENT = '/var/tmp';

/** Removing below a live mount would take files away from whoever uses it. */
async function removeUnlessMounted(directory: string): Promise<void> {
  if (mountsBelow(directory).length === 0) await rm(directory, { recursive: true, force: true });
}

/** Shows an image built while it downloads, mounted and running, beside what containerd does with it. */
export async function runDemo(context: Context, options: DemoOptions): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const directory = await mkdtemp(join(DEMO_PARENT, 'drakkar-demo-'));
  scope.defer(() => removeUnlessMounted(directory));

  const registry = options.image === undefined ? scope.use(await startRegistry()) : undefined;
  const image = await demoImage(context, options, registry);
  context.say('pulling and starting it with containerd and overlayfs, for comparison');
  const containerd = await withContainerd(image, context.signal);

  context.say('starting supernode, helper and daemon');
  const cluster = await startCluster(directory, scope);
  const config = cluster.hostConfig('state', 'host-1', { nativeSocket: join(directory, 'native.sock') });
  const machine = scope.use(await startMachine(config, context.signal, context.say));
  const here: Context = { ...context, client: async () => new AdminClient(machine.socket) };

  context.say('building its snapshot while it downloads, and starting it from there');
  const cold = await start(here, image);
  context.say('starting it again');
  const warm = await start(here, image);

  context.say('pulling all of it on a second host, behind a link of 1 Gbit/s');
  const second = cluster.hostConfig('host-2', 'host-2', { linkRate: LINK_RATE });
  const pulled = await pullOn(second, image.reference, context, scope);
  const third = await startThird(directory, cluster, image, context, scope);

  let pod: PodReport | undefined;
  if (registry !== undefined) {
    context.say('starting it on a fourth host, which has nothing either, in a pod of a stock containerd');
    pod = await startPod(directory, cluster, registry, image.reference, LINK_RATE, context);
  }

  const result: DemoResult = {
    image: image.reference,
    containerd,
    cold: cold.report,
    warm: warm.report,
    output: cold.output,
    pulled,
    third,
    pod,
  };
  const places = {
    state: config.stateDirectory,
    socket: machine.socket,
    mirrorUrl: (await machine.daemon.status()).mirrorUrl,
    supernodeConfig: cluster.supernodeConfig,
    consoleUrl: cluster.consoleUrl,
  };
  context.answer(result, demoScreen(result, places, options.once));
  if (!options.once && !context.signal.aborted) await once(context.signal, 'abort');
}

/** On a host that has nothing: the start, a worker that is killed while a container reads, and how the rest arrives. */
async function startThird(
  directory: string,
  cluster: Cluster,
  image: DemoImage,
  context: Context,
  scope: AsyncDisposableStack,
): Promise<ThirdHost> {
  context.say('starting it on a third host, which has nothing of it, behind such a link');
  const nativeSocket = join(directory, 'third.sock');
  const config = cluster.hostConfig('host-3/state', 'host-3', { nativeSocket, linkRate: LINK_RATE });
  const machine = scope.use(await startMachine(config, context.signal, context.say));
  const client = new AdminClient(machine.socket);
  const there: Context = { ...context, client: async () => client };
  const { report } = await start(there, image);
  const startedMs = performance.now();
  const residencyAtOutput = (await snapshotOf(client, report)).residency;
  const reader = image.reader === undefined ? undefined : await readWhileKilling(there, image, nativeSocket);
  let shown = -1;
  for (;;) {
    const { residency, offlineReady } = await snapshotOf(client, report);
    const percent = Math.floor(residency * 100);
    if (percent !== shown) context.say(`host 3 has ${percent} % of it`);
    shown = percent;
    if (offlineReady) break;
    await sleep(LOOK_MS, undefined, { signal: context.signal });
  }
  return { report, residencyAtOutput, reader, completeAfterMs: performance.now() - startedMs };
}

/** A container that reads every file of the image, and the helper's worker, which is killed meanwhile. */
async function readWhileKilling(
  context: Context,
  image: DemoImage,
  nativeSocket: string,
): Promise<{ readonly words: string; readonly kills: number }> {
  context.say('reading all of its files there in a container, and killing the helper’s worker meanwhile');
  await using helper = nativeHelper(nativeSocket);
  const reading = start(context, image, image.reader);
  let isRead = false;
  const done = reading.finally(() => {
    isRead = true;
  });
  done.catch(() => {});
  let kills = 0;
  while (!isRead && !context.signal.aborted) {
    await sleep(KILL_EVERY_MS);
    await helper.volumes().catch(() => undefined);
    if (isRead || helper.workerPid === null) continue;
    process.kill(helper.workerPid, 'SIGKILL');
    kills += 1;
    context.say(`killed process ${helper.workerPid}, the helper’s worker`);
  }
  return { words: (await done).output, kills };
}

async function snapshotOf(client: AdminClient, { manifestDigest }: RunReport): Promise<SnapshotSummary> {
  return await client.snapshot(manifestDigest);
}

async function demoImage(
  context: Context,
  { image }: DemoOptions,
  registry: Registry | undefined,
): Promise<DemoImage> {
  if (registry !== undefined) return pushDemoImage(registry, context.say);
  const reference = formatReference(parseReference(image ?? ''));
  return { reference, plainHttp: isLoopback(reference) };
}

function isLoopback(image: string): boolean {
  return /^(localhost|127\.|\[::1\])/.test(parseReference(image).registry);
}

async function withContainerd(image: DemoImage, signal: AbortSignal): Promise<ContainerdStart> {
  await using containerd = await startContainerd();
  return await startWithContainerd(containerd, image, signal);
}

/** Runs a container of it until it ends, or until it has said something, as servers do. */
async function start(
  context: Context,
  image: DemoImage,
  command: readonly string[] = [],
): Promise<{ report: RunReport; output: string }> {
  const stdout = new PassThrough();
  const parts: Buffer[] = [];
  const ending = new AbortController();
  const end = () => ending.abort();
  const timer = setTimeout(end, OUTPUT_DEADLINE_MS);
  stdout.on('data', (bytes: Buffer) => parts.push(bytes));
  stdout.once('data', () => void setTimeout(end, GRACE_MS).unref());
  const flags = { env: [], net: 'none' as const };
  const outputs = { stdout, stderr: process.stderr, kill: AbortSignal.any([ending.signal, context.signal]) };
  const report = await runImage(context, image.reference, [...command], flags, outputs).finally(() =>
    clearTimeout(timer),
  );
  const output = Buffer.concat(parts).toString('utf8').trim();
  context.signal.throwIfAborted();
  if (report.exitCode === 0 || ending.signal.aborted) return { report, output };
  throw new DrakkarError('internal', `the container ended with exit code ${report.exitCode}`, {
    hint: output,
  });
}
