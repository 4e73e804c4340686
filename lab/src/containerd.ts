import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { type Child, startChild, untilReady } from './child.ts';
import { mountsBelow } from './kernel.ts';

export interface ContainerdOptions {
  /** Directory with `HOST/hosts.toml`, for `pull` and, where it is on, CRI. */
  readonly hostsDirectory?: string;
  /** Start the CRI plugin, too. */
  readonly cri?: boolean | CriOptions;
  /** Changes `config.toml` before containerd reads it. */
  readonly configure?: (path: string) => Promise<void>;
  /** Appended to `config.toml`. */
  readonly extraConfig?: string;
  /** Where `containerd` and `ctr` are, when not on the path. */
  readonly programs?: string;
  /** It is started again whenever it has ended, as by an init system. */
  readonly supervised?: boolean;
  /** A command line that runs in another place, as a network namespace: containerd, and `ctr`, which is what pulls. */
  readonly within?: (command: string, args: readonly string[]) => readonly [string, readonly string[]];
}

export interface CriOptions {
  /** What pods stand upon. */
  readonly sandboxImage: string;
}

export interface PullOptions {
  /** `USER:PASSWORD`. */
  readonly user?: string;
  /** As `os/architecture`. */
  readonly platform?: string;
  readonly signal?: AbortSignal;
}

/** A containerd of its own: root, state, socket and namespace are shared with nothing else on the machine. */
export interface Containerd extends AsyncDisposable {
  readonly address: string;
  /** Of everything that {@link ctr} does. */
  readonly namespace: string;
  readonly directory: string;
  readonly pid: number;
  /** Runs `ctr` against it; returns stdout. @throws with its stderr when it fails */
  ctr(args: readonly string[], options?: { readonly signal?: AbortSignal }): Promise<string>;
  /** Pulls over plain HTTP and unpacks with overlayfs. */
  pull(reference: string, options?: PullOptions): Promise<void>;
  /** Mounts the overlay that a container of the pulled image would get. Whiteouts of the lowest layer are hidden, too. */
  mount(reference: string): Promise<UnpackedMount>;
  /** Mounts what a container would get upon a snapshot of any snapshotter. */
  mountSnapshot(snapshotter: string, parent: string): Promise<UnpackedMount>;
  /** What it says that a snapshotter has: kinds by name. */
  snapshots(snapshotter: string, namespace: string): Promise<ReadonlyMap<string, string>>;
  /** Kills it, and starts it again. Containers go on. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface UnpackedMount extends AsyncDisposable {
  readonly path: string;
}

const run = promisify(execFile);
const NAMESPACE = 'drakkar-lab';
const LOWERDIR = 'lowerdir=';
const OUTPUT_BYTES = 64 * 1024 * 1024;

/** Source: linux/magic.h. Neither can hold the upper directory of an overlay with all its attributes. */
const OVERLAYFS_MAGIC = 0x794c7630;
const TMPFS_MAGIC = 0x01021994;

/** A directory of its own on a real disk. @throws when the usual places are all on an overlay or in memory */
async function diskDirectory(): Promise<string> {
  const places = [tmpdir(), '/var/tmp', '/var/lib'];
  for (const place of places) {
    const { type } = await statfs(place);
    if (type === OVERLAYFS_MAGIC || type === TMPFS_MAGIC) continue;
    const directory = await mkdtemp(join(place, 'drakkar-containerd-'));
    // The root of a user namespace must reach its root file system.
    await chmod(directory, 0o711);
    return directory;
  }
  throw new Error(`none of ${places.join(', ')} is on a real disk: set TMPDIR to a place that is`);
}

/** @throws when containerd is not installed, or was not ready within 30 s */
export async function startContainerd(options: ContainerdOptions = {}): Promise<Containerd> {
  const directory = await diskDirectory();
  const address = join(directory, 'containerd.sock');
  const config = join(directory, 'config.toml');
  await writeFile(config, configuration(directory, address, options));
  await options.configure?.(config);
  const { programs = '', within = (...line) => line } = options;
  // Its shim must be of the same release, and is looked for on the path.
  const path = ['env', `PATH=${[programs, process.env.PATH].filter(Boolean).join(':')}`] as const;
  const [program, ...words] = [...path, join(programs, 'containerd'), '--config', config];
  let isStopping = false;
  const begin = (): Child => {
    const begun = startChild(...within(program, words));
    if (options.supervised === true)
      begun.process.once('exit', () => {
        if (!isStopping) child = begin();
      });
    return begun;
  };
  let child = begin();
  const ctr: Containerd['ctr'] = async (args, { signal } = {}) => {
    const line = ['--address', address, '--namespace', NAMESPACE, ...args];
    const { stdout } = await run(...within(join(programs, 'ctr'), line), {
      maxBuffer: OUTPUT_BYTES,
      ...(signal === undefined ? {} : { signal }),
    });
    return stdout;
  };
  const isReady = () =>
    ctr(['version']).then(
      () => true,
      () => false,
    );
  try {
    await untilReady(child, 'containerd', isReady);
  } catch (error) {
    await child.stop();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  const mounted = new Set<string>();
  let mounts = 0;
  const unmount = async (path: string): Promise<void> => {
    if (!mounted.delete(path)) return;
    await ctr(['images', 'unmount', '--rm', path]);
    await rm(path, { recursive: true });
  };
  const mountPoint = async (): Promise<string> => {
    mounts += 1;
    const path = join(directory, `mount-${mounts}`);
    await mkdir(path);
    return path;
  };
  let stopped: Promise<void> | undefined;
  const listed = async (args: readonly string[]): Promise<string[]> =>
    (await ctr(args).catch(() => '')).split(/\s+/).filter(Boolean);
  const stop = async (): Promise<void> => {
    isStopping = true;
    for (const path of mounted) await unmount(path);
    for (const namespace of await listed(['namespaces', 'ls', '--quiet'])) {
      const within = ['--namespace', namespace, 'tasks'];
      for (const id of await listed([...within, 'ls', '--quiet']))
        await ctr([...within, 'delete', '--force', id]).catch(() => {});
    }
    await child.stop();
    // What it was unpacking when it was told to stop stays mounted.
    for (const path of mountsBelow(directory)) await run('umount', ['--lazy', path]);
    await rm(directory, { recursive: true, force: true });
  };
  const stopOnce = (): Promise<void> => {
    stopped ??= stop();
    return stopped;
  };
  return {
    address,
    namespace: NAMESPACE,
    directory,
    get pid() {
      return child.process.pid ?? 0;
    },
    ctr,
    async pull(reference, { user, platform, signal } = {}) {
      const args = ['images', 'pull', '--plain-http', '--snapshotter', 'overlayfs'];
      if (options.hostsDirectory !== undefined) args.push('--hosts-dir', options.hostsDirectory);
      if (user !== undefined) args.push('--user', user);
      if (platform !== undefined) args.push('--platform', platform);
      await ctr([...args, reference], signal === undefined ? {} : { signal });
    },
    async mount(reference) {
      const path = await mountPoint();
      await ctr(['images', 'mount', '--rw', reference, path]);
      mounted.add(path);
      return { path, [Symbol.asyncDispose]: () => unmount(path) };
    },
    async mountSnapshot(snapshotter, parent) {
      const path = await mountPoint();
      const snapshots = (...args: string[]) => ctr(['snapshots', '--snapshotter', snapshotter, ...args]);
      await snapshots('prepare', path, parent);
      await mountShort((await snapshots('mounts', path, path)).trim());
      return {
        path,
        async [Symbol.asyncDispose]() {
          await run('umount', [path]);
          await snapshots('rm', path);
        },
      };
    },
    async snapshots(snapshotter, namespace) {
      const list = ['--namespace', namespace, 'snapshots', '--snapshotter', snapshotter, 'ls'];
      const [, ...rows] = (await ctr(list)).split('\n').map((row) => row.trim().split(/\s+/));
      return new Map(rows.flatMap(([name, ...rest]) => (name ? [[name, rest.at(-1) ?? ''] as const] : [])));
    },
    async restart() {
      const ended = child;
      ended.process.kill('SIGKILL');
      await ended.stop();
      if (child === ended) child = begin();
      await untilReady(child, 'containerd', isReady);
    },
    stop: stopOnce,
    [Symbol.asyncDispose]: stopOnce,
  };
}

/** Runs `mount -t overlay overlay PATH -o OPTIONS` in the directory that all lower ones are in: of eighty the kernel takes no longer names. */
async function mountShort(line: string): Promise<void> {
  const [program = '', ...words] = line.split(' ');
  const options = words.pop()?.split(',') ?? [];
  const lower = options.find((option) => option.startsWith(LOWERDIR))?.slice(LOWERDIR.length);
  const [first = '/', ...others] = lower?.split(':') ?? [];
  let directory = dirname(first);
  const isAbove = (path: string) => path.startsWith(directory === '/' ? '/' : `${directory}/`);
  while (!others.every(isAbove)) directory = dirname(directory);
  const short = [first, ...others].map((path) => relative(directory, path)).join(':');
  const shortened = options.map((option) => (option.startsWith(LOWERDIR) ? LOWERDIR + short : option));
  await run(program, [...words, shortened.join(',')], { cwd: directory });
}

/** Has whoever is given this as `hostsDirectory` speak plain HTTP with a registry. @param mirrorUrl who is asked first */
export async function writePlainHosts(
  hostsDirectory: string,
  registry: string,
  mirrorUrl?: string,
): Promise<void> {
  const url = `http://${registry}`;
  const text = `server = "${url}"\n[host."${mirrorUrl ?? url}"]\n  capabilities = ["pull", "resolve"]\n`;
  await mkdir(join(hostsDirectory, registry), { recursive: true });
  await writeFile(join(hostsDirectory, registry, 'hosts.toml'), text);
}

function configuration(directory: string, address: string, options: ContainerdOptions): string {
  const lines = [
    'version = 2',
    `root = ${JSON.stringify(join(directory, 'root'))}`,
    `state = ${JSON.stringify(join(directory, 'state'))}`,
    options.cri !== undefined && options.cri !== false
      ? ''
      : 'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    '[grpc]',
    `  address = ${JSON.stringify(address)}`,
    '[plugins."io.containerd.internal.v1.opt"]',
    `  path = ${JSON.stringify(join(directory, 'opt'))}`,
  ];
  if (options.hostsDirectory !== undefined)
    lines.push(
      '[plugins."io.containerd.grpc.v1.cri".registry]',
      `  config_path = ${JSON.stringify(options.hostsDirectory)}`,
    );
  if (typeof options.cri === 'object') lines.push(...criConfiguration(options.cri));
  return `${lines.join('\n')}\n${options.extraConfig ?? ''}\n`;
}

/** In the format of 1.6, which 2.x reads as well. */
function criConfiguration({ sandboxImage }: CriOptions): string[] {
  return [
    '[plugins."io.containerd.grpc.v1.cri"]',
    `  sandbox_image = ${JSON.stringify(sandboxImage)}`,
    // Where root may not make itself more important to the kernel than it is.
    '  restrict_oom_score_adj = true',
    '  disable_tcp_service = true',
  ];
}
