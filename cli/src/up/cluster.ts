import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminClient, type PullResult } from '@drakkar/client';
import { type Config, configuration, startDaemon } from '@drakkar/daemon';
import { startSupernode, supernodeConfiguration } from '@drakkar/supernode';
import { stringify } from 'yaml';
import { adminSocket, type Context } from '../context.ts';

/** A cluster on this machine alone, for the demo. */
export interface Cluster {
  /** The file with which `drakkar hosts` and `drakkar supernode …` find it. */
  readonly supernodeConfig: string;
  /** Where a browser sees it. */
  readonly consoleUrl: string;
  /** Of a daemon that is a member. */
  hostConfig(folder: string, name: string, settings?: HostSettings): Config;
}

export interface HostSettings {
  readonly nativeSocket?: string;
  /** Bytes per second that reach it. */
  readonly linkRate?: number;
  /** Where containerd finds its snapshotter. */
  readonly snapshotterSocket?: string;
}

/** Nobody watches a demo for long. */
const BACKGROUND_DELAY_MS = 1_000;

/** The label `zone` of all hosts. A job that names it does not wait for one that has ended: its labels are not known any more. */
export const DEMO_ZONE = 'demo';

const LOOPBACK = '127.0.0.1';

export async function startCluster(directory: string, scope: AsyncDisposableStack): Promise<Cluster> {
  const raw = {
    stateDirectory: join(directory, 'supernode'),
    address: LOOPBACK,
    port: 0,
    metrics: { port: 0 },
    // Whoever is on this machine may look.
    api: { port: 0, anonymousViewers: true },
    log: { level: 'warn' as const },
  };
  const supernodeConfig = join(directory, 'supernode.yaml');
  await writeFile(supernodeConfig, stringify(raw));
  const supernode = scope.use(await startSupernode(supernodeConfiguration.complete(raw)));
  const { address, apiUrl } = supernode.status();
  return {
    supernodeConfig,
    consoleUrl: apiUrl,
    hostConfig: (folder, name, { nativeSocket, linkRate, snapshotterSocket } = {}) =>
      configuration.complete({
        stateDirectory: join(directory, folder),
        mirror: { port: 0 },
        metrics: { port: 0 },
        swarm: {
          supernode: address,
          joinToken: supernode.joinToken,
          name,
          labels: { zone: DEMO_ZONE },
          address: LOOPBACK,
          controlPort: 0,
          dataPort: 0,
          mdns: false,
          ...(linkRate === undefined ? {} : { downloadRate: linkRate, upstreamRate: linkRate }),
        },
        volumes: { backgroundDelayMs: BACKGROUND_DELAY_MS },
        // The screen is the demo's own.
        log: { level: 'warn' },
        containerd: { snapshotterSocket: snapshotterSocket ?? null },
        native: { socket: nativeSocket ?? join(directory, `${name}.sock`) },
      }),
  };
}

/** Starts another host, which stays until the scope ends, and pulls an image there. */
export async function pullOn(
  config: Config,
  image: string,
  context: Context,
  scope: AsyncDisposableStack,
): Promise<PullResult> {
  await mkdir(config.stateDirectory, { recursive: true, mode: 0o700 });
  scope.use(await startDaemon({ ...config, log: { level: 'error' } }, { signal: context.signal }));
  return await new AdminClient(adminSocket(config)).pull({ image }, { signal: context.signal });
}
