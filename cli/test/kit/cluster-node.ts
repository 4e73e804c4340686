import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  buildContainerd2,
  type Containerd,
  Cri,
  type Pod,
  type PodOptions,
  pauseImage,
  type Registry,
  startContainerd,
  temporaryDirectory,
  writePlainHosts,
} from '@drakkar/lab';
import { type Host, startHost } from './drakkar.ts';
import { push } from './image.ts';

/** A host with a containerd of its own, of which Drakkar is the snapshotter. */
export interface ClusterNode extends AsyncDisposable {
  readonly host: Host;
  readonly containerd: Containerd;
  readonly cri: Cri;
  readonly logDirectory: string;
  /** With which commands find this containerd. */
  readonly containerdFlags: readonly string[];
  /** Has containerd collect what nothing refers to any more, for which it takes its time else. */
  collect(): Promise<void>;
  /** Does something with a pod, which goes then. */
  inPod<Result>(options: PodChoice, work: (pod: Pod) => Promise<Result>): Promise<Result>;
  /** What containerd says that there is: kinds by name. */
  snapshots(): Promise<ReadonlyMap<string, string>>;
}

export type PodChoice = Omit<PodOptions, 'logDirectory'>;

/** The containerd of this system, and the newest. */
export const CONTAINERDS = [
  { version: '1.6', programs: async () => undefined },
  { version: '2.4', programs: buildContainerd2 },
] as const;

export interface ClusterNodeOptions {
  readonly registry: Registry;
  /** Of the daemon. */
  readonly config?: Readonly<Record<string, object>>;
  /** Others from which pods may have images. */
  readonly others?: readonly Registry[];
  /** Pull from all of them through the host's mirror. */
  readonly mirror?: boolean;
  /** Of containerd. */
  readonly extraConfig?: string;
  /** Where `containerd` is, when not on the path. */
  readonly programs?: string | undefined;
}

export async function startClusterNode({
  registry,
  config = {},
  programs,
  others = [],
  mirror = false,
  extraConfig = '',
}: ClusterNodeOptions): Promise<ClusterNode> {
  await using parts = new AsyncDisposableStack();
  const directory = parts.use(await temporaryDirectory('node'));
  const [hosts, logDirectory] = [join(directory.path, 'hosts'), join(directory.path, 'logs')];
  const socket = join(directory.path, 'snapshotter.sock');
  const { containerd: settings = {}, ...rest } = config;
  const host = parts.use(
    await startHost({ ...rest, containerd: { ...settings, snapshotterSocket: socket } }),
  );
  await mkdir(logDirectory);
  const registries = [registry, ...others].map(({ host: name }) => name);
  for (const name of registries) await writePlainHosts(hosts, name);
  const sandboxImage = await push(registry, pauseImage(), 'pause');
  let containerdFlags: readonly string[] = [];
  const configure = async (path: string) => {
    containerdFlags = [
      '--containerd-config',
      path,
      '--containerd-program',
      join(programs ?? '', 'containerd'),
    ];
    const { code, stderr } = await host.drakkar(
      'configure',
      'containerd',
      '--snapshotter',
      ...(mirror ? registries.flatMap((name) => ['--mirror', name]) : []),
      ...containerdFlags,
    );
    if (code !== 0) throw new Error(stderr);
  };
  const options = { hostsDirectory: hosts, cri: { sandboxImage }, configure, extraConfig };
  const containerd = parts.use(
    await startContainerd({ ...options, ...(programs === undefined ? {} : { programs }) }),
  );
  const cri = parts.use(new Cri(containerd.address));
  const running = parts.move();
  return {
    host,
    containerd,
    cri,
    logDirectory,
    containerdFlags,
    async collect() {
      const lease = randomUUID();
      await containerd.ctr(['leases', 'create', '--id', lease]);
      await containerd.ctr(['leases', 'delete', '--sync', lease]);
    },
    async inPod(options, work) {
      const pod = await cri.runPod({ ...options, logDirectory });
      try {
        return await work(pod);
      } finally {
        await cri.removePod(pod);
      }
    },
    snapshots: () => containerd.snapshots('drakkar', 'k8s.io'),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
