import { DrakkarError } from '@drakkar/errors';
import type { ImageConfig } from '@drakkar/protocol';
import type { ContainerUser } from './user.ts';

/** What the command line may change about how an image runs. */
export interface RunOptions {
  /** Replaces the image's `Cmd` where it is not empty. */
  readonly command: readonly string[];
  /** Replaces the image's `Entrypoint`, and drops its `Cmd`; an empty one leaves the command alone. */
  readonly entrypoint: string | undefined;
  /** `NAME=VALUE`, or `NAME` for the caller's own value. */
  readonly env: readonly string[];
  readonly workingDirectory: string | undefined;
  readonly terminal: boolean;
  readonly network: 'host' | 'none';
}

/** What a plain container may do as root; the same set as containerd and Docker give. */
const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The `config.json` of an OCI bundle that runs an image. Pure: users are resolved by the caller.
 * Source: OCI runtime-spec 1.1; image-spec 1.1, conversion.md.
 *
 * @throws `invalid_argument` where neither the image nor the caller says what to run
 */
export function runtimeSpec(
  id: string,
  rootfs: string,
  image: ImageConfig,
  user: ContainerUser,
  options: RunOptions,
  callerEnv: Readonly<Record<string, string | undefined>>,
): object {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: options.terminal,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: processArguments(image, options),
      env: environment(image, user, options, callerEnv),
      cwd: options.workingDirectory || image.config?.WorkingDir || '/',
      capabilities: {
        bounding: CAPABILITIES,
        effective: user.uid === 0 ? CAPABILITIES : [],
        permitted: user.uid === 0 ? CAPABILITIES : [],
      },
      noNewPrivileges: false,
    },
    root: { path: rootfs, readonly: false },
    hostname: options.network === 'none' ? id.slice(0, 63) : undefined,
    mounts: mounts(options.network),
    linux: {
      cgroupsPath: `/drakkar/${id}`,
      namespaces: ['pid', 'ipc', 'mount', ...(options.network === 'none' ? ['network', 'uts'] : [])].map(
        (type) => ({
          type,
        }),
      ),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      resources: { devices: [{ allow: false, access: 'rwm' }, ...allowedDevices()] },
    },
  };
}

/** Entrypoint and command, as the image and the caller say together. */
export function processArguments(image: ImageConfig, options: RunOptions): string[] {
  const own = options.entrypoint === '' ? [] : [options.entrypoint ?? ''];
  const entrypoint = options.entrypoint === undefined ? (image.config?.Entrypoint ?? []) : own;
  const imageCommand = options.entrypoint === undefined ? (image.config?.Cmd ?? []) : [];
  const all = [...entrypoint, ...(options.command.length > 0 ? options.command : imageCommand)];
  if (all[0] === '') throw new DrakkarError('invalid_argument', 'the name of the program to run is empty');
  if (all.length === 0) {
    throw new DrakkarError('invalid_argument', 'the image says nothing of what to run', {
      hint: 'name a command: drakkar run IMAGE -- COMMAND',
    });
  }
  return all;
}

function environment(
  image: ImageConfig,
  user: ContainerUser,
  options: RunOptions,
  callerEnv: Readonly<Record<string, string | undefined>>,
): string[] {
  const env = new Map<string, string>([['PATH', DEFAULT_PATH]]);
  if (options.terminal) env.set('TERM', callerEnv.TERM ?? 'xterm');
  const set = (text: string) => {
    const equals = text.indexOf('=');
    if (equals > 0) env.set(text.slice(0, equals), text.slice(equals + 1));
    else if (equals < 0 && callerEnv[text] !== undefined) env.set(text, callerEnv[text]);
  };
  for (const text of image.config?.Env ?? []) set(text);
  if (!env.has('HOME')) env.set('HOME', user.home);
  for (const text of options.env) {
    if (text === '' || text.startsWith('=')) {
      throw new DrakkarError('invalid_argument', `--env ${JSON.stringify(text)} names no variable`, {
        hint: 'write it as NAME=VALUE, or NAME alone for your own value',
      });
    }
    set(text);
  }
  return [...env].map(([name, value]) => `${name}=${value}`);
}

function mounts(network: RunOptions['network']): object[] {
  const mount = (destination: string, type: string, source: string, options: string[]) => ({
    destination,
    type,
    source,
    options,
  });
  const fromHost = (path: string) => mount(path, 'bind', path, ['rbind', 'ro']);
  return [
    mount('/proc', 'proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', [
      'nosuid',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ]),
    mount('/dev/shm', 'tmpfs', 'shm', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']),
    mount('/dev/mqueue', 'mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
    mount('/sys', 'sysfs', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
    ...(network === 'host' ? ['/etc/resolv.conf', '/etc/hosts'].map(fromHost) : []),
  ];
}

/** null, zero, full, random, urandom, tty, console, pts and ptmx: what every container may open. */
function allowedDevices(): object[] {
  const allow = (major: number, minor: number | undefined) => ({
    allow: true,
    type: 'c',
    major,
    ...(minor === undefined ? {} : { minor }),
    access: 'rwm',
  });
  const memory = [3, 5, 7, 8, 9].map((minor) => allow(1, minor));
  return [...memory, allow(5, 0), allow(5, 1), allow(5, 2), allow(136, undefined)];
}
