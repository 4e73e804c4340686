import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminClient } from '@drakkar/client';
import { Cri, pauseImage, pushImage, type Registry, startContainerd, writePlainHosts } from '@drakkar/lab';
import { parseReference } from '@drakkar/protocol';
import { containerdVersion, planContainerd, recordOf } from '../configure/containerd.ts';
import { applyPlan } from '../configure/files.ts';
import type { Context } from '../context.ts';
import type { Cluster } from './cluster.ts';
import { startMachine } from './up.ts';

/** What a pod came to. */
export interface PodReport {
  readonly pullMs: number;
  /** From the pull's end to what the container said, which ended then. */
  readonly runMs: number;
  readonly output: string;
  /** How much of the image was there then: 0 … 1. */
  readonly residency: number;
  readonly fromRegistryBytes: number;
}

/** On a host that has nothing: a pod of a stock containerd, configured as `drakkar configure containerd` does it. */
export async function startPod(
  directory: string,
  cluster: Cluster,
  registry: Registry,
  image: string,
  linkRate: number,
  context: Context,
): Promise<PodReport> {
  await using scope = new AsyncDisposableStack();
  const [snapshotterSocket, nativeSocket, logDirectory] = ['snapshotter.sock', 'fourth.sock', 'pod-logs'].map(
    (name) => join(directory, name),
  ) as [string, string, string];
  const settings = { nativeSocket, linkRate, snapshotterSocket };
  const config = cluster.hostConfig('host-4/state', 'host-4', settings);
  const machine = scope.use(await startMachine(config, context.signal, context.say));
  await mkdir(logDirectory);
  await pushImage(registry.url, pauseImage(), { repository: 'demo/pause', tag: 'latest' });
  const sandboxImage = `${registry.host}/demo/pause:latest`;
  const hostsDirectory = join(directory, 'hosts');
  await writePlainHosts(hostsDirectory, parseReference(image).registry);
  const containerd = scope.use(
    await startContainerd({
      hostsDirectory,
      cri: { sandboxImage },
      configure: async (configPath) => {
        const { stateDirectory } = config;
        const wish = { snapshotterSocket, stateDirectory, registries: [], mirrorUrl: '' };
        const plan = await planContainerd({
          configPath,
          version: await containerdVersion('containerd'),
          ...wish,
        });
        await applyPlan(plan, recordOf(configPath));
      },
    }),
  );
  const cri = scope.use(new Cri(containerd.address));
  const pod = await cri.runPod({ name: 'demo', logDirectory });
  try {
    const startedMs = performance.now();
    await cri.pull(image);
    const pulledMs = performance.now();
    const output = await cri.run(pod, { name: 'demo', image });
    const endedMs = performance.now();
    const client = new AdminClient(machine.socket);
    const [snapshot] = await client.snapshots();
    return {
      pullMs: pulledMs - startedMs,
      runMs: endedMs - pulledMs,
      output: output.trim(),
      residency: snapshot?.residency ?? 0,
      fromRegistryBytes: (await client.status()).traffic.upstreamBytes,
    };
  } finally {
    await cri.removePod(pod);
    await cri.removeImage(image);
    await cri.removeImage(sandboxImage);
  }
}
