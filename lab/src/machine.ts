import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Child, startChild, untilReady } from './child.ts';
import { type Containerd, startContainerd } from './containerd.ts';
import { Cri } from './cri.ts';

export interface MachineOptions {
  /** What pods stand upon. */
  readonly sandboxImage: string;
  /** Where `containerd` is, when not on the path. */
  readonly programs?: string;
}

/**
 * A machine of its own, as far as a containerd can see and what it runs: `/etc/containerd`, `/run`, `/var/lib` and `/var/cache` are its own, and containerd is started
 * again when it ends. It has this machine's network and processes.
 */
export interface Machine extends AsyncDisposable {
  readonly containerd: Containerd;
  readonly cri: Cri;
  /** Where a path of that machine is on this one. */
  pathOf(path: string): string;
}

/** Own directories are laid over those of the system: $1 has containerd's socket and configuration, $2 all others. */
const MOUNTS = `
set -e
mount --make-rshared /
mount --bind "$2/var/lib" /var/lib
mount --bind "$2/var/cache" /var/cache
mount --bind "$2/run" /run
mkdir /run/containerd
mount --bind "$1" /run/containerd
mount --bind "$1" /etc/containerd
touch "$2/ready"
exec sleep infinity
`;
const OWN = ['/var/lib', '/var/cache', '/run'];
const CONTAINERD = ['/run/containerd', '/etc/containerd'];

/** @throws where containerd is not installed, or this is not root */
export async function startMachine({ sandboxImage, programs }: MachineOptions): Promise<Machine> {
  await using parts = new AsyncDisposableStack();
  let own = '';
  let space: Child | undefined;
  const configure = async (config: string) => {
    const directory = dirname(config);
    own = join(directory, 'own');
    for (const path of OWN) await mkdir(join(own, path), { recursive: true });
    const line = ['--mount', '--propagation', 'slave', 'sh', '-c', MOUNTS, 'sh', directory, own];
    space = parts.use(startChild('unshare', line));
    await untilReady(space, 'a space of mounts', async () => existsSync(join(own, 'ready')));
  };
  const within = (command: string, args: readonly string[]) =>
    ['nsenter', [`--mount=/proc/${space?.process.pid}/ns/mnt`, command, ...args]] as const;
  const containerd = await startContainerd({
    ...{ cri: { sandboxImage }, supervised: true, configure, within },
    ...(programs === undefined ? {} : { programs }),
  });
  parts.defer(async () => {
    await containerd.stop();
    // What is meant to outlive those who have started it.
    for (const pid of processesUpon(own)) process.kill(pid, 'SIGKILL');
  });
  const cri = parts.use(new Cri(containerd.address));
  const running = parts.move();
  return {
    containerd,
    cri,
    pathOf(path) {
      const place = CONTAINERD.find((directory) => path.startsWith(directory));
      if (place !== undefined) return join(containerd.directory, path.slice(place.length));
      return OWN.some((directory) => path.startsWith(`${directory}/`)) ? join(own, path) : path;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Processes to which something below a directory is mounted: how its parent is called depends on where that is mounted itself. */
function processesUpon(directory: string): number[] {
  const name = `/${basename(dirname(directory))}/${basename(directory)}/`;
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .filter((pid) => mountsOf(pid).includes(name))
    .map(Number);
}

function mountsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
  } catch {
    return '';
  }
}
