import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Cri, pauseImage, pushImage, startContainerd, writePlainHosts } from '@drakkar/lab';
import type { Fleet, FleetHost } from './fleet.ts';
import { placeOf } from './moved.ts';

const run = promisify(execFile);

/** Containerd collects what nothing refers to a moment after a removal. */
const COLLECT_MS = 60_000;
const LOOK_MS = 50;
const SANDBOX_REPOSITORY = 'bench/pause';

/** A containerd for pods, on a host of a fleet: with its own overlayfs, or with the host's Drakkar. */
export interface PodHost {
  readonly cri: Cri;
  readonly logDirectory: string;
  /** Removes images, and returns when containerd has nothing of them any more. */
  forget(images: readonly string[]): Promise<void>;
}

export type Snapshotter = 'overlayfs' | 'drakkar';

/** Where the daemon of a host that {@link startPodHost} gives to Drakkar must answer containerd. */
export const snapshotterSocketOf = (directory: string): string => join(directory, 'snapshotter.sock');

/**
 * @param directory of its own, in which it may leave something
 * @param stack ends it
 */
export async function startPodHost(
  { registry }: Fleet,
  host: FleetHost,
  snapshotter: Snapshotter,
  directory: string,
  stack: AsyncDisposableStack,
): Promise<PodHost> {
  const [hostsDirectory, logDirectory] = [join(directory, 'hosts'), join(directory, `${snapshotter}-logs`)];
  await mkdir(logDirectory, { recursive: true });
  await writePlainHosts(hostsDirectory, registry.host);
  await pushImage(registry.url, pauseImage(), { repository: SANDBOX_REPOSITORY, tag: 'latest' });
  const sandboxImage = `${registry.host}/${SANDBOX_REPOSITORY}:latest`;
  const configure = async (path: string) => {
    const [program = '', ...args] = host.command(['configure', 'containerd', '--snapshotter']);
    await run(program, [...args, '--containerd-config', path]);
  };
  const containerd = stack.use(
    await startContainerd({
      hostsDirectory,
      cri: { sandboxImage },
      within: placeOf(host).within,
      ...(snapshotter === 'drakkar' ? { configure } : {}),
    }),
  );
  const cri = stack.use(new Cri(containerd.address));
  await cri.pull(sandboxImage);
  const count = async () => (await containerd.snapshots(snapshotter, 'k8s.io')).size;
  const ofSandbox = await count();
  return {
    cri,
    logDirectory,
    async forget(images) {
      for (const image of images) await cri.removeImage(image);
      const signal = AbortSignal.timeout(COLLECT_MS);
      while ((await count()) > ofSandbox) await delay(LOOK_MS, undefined, { signal });
    },
  };
}
