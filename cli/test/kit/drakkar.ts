import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ADMIN_SOCKET_NAME, AdminClient } from '@drakkar/client';
import { type Helper, startHelper } from '@drakkar/daemon';
import { helperProcesses, mountsBelow } from '@drakkar/lab';

const MAIN = join(import.meta.dirname, '../../src/main.js');
const START_DEADLINE_MS = 60_000;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A host: a daemon and a helper as processes of their own, on a state directory of their own. */
export interface Host extends AsyncDisposable {
  readonly directory: string;
  readonly state: string;
  readonly client: AdminClient;
  readonly daemonPid: number;
  readonly helperPid: number;
  /** The argument list of a `drakkar` command against it. */
  command(...args: string[]): [program: string, ...args: string[]];
  /** Runs a `drakkar` command against it, to its end. */
  drakkar(...args: string[]): Promise<Outcome>;
  /** Starts what is not running. */
  start(): Promise<void>;
  /** Kills a part, and waits until it is gone. */
  kill(part: 'daemon' | 'helper', signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Kills everything of it at once: daemon, helper, and who holds volumes for the next helper. Mounts stay. */
  killAll(): Promise<void>;
  /** What is left after a power cut: what is on the disk. Everything starts again. */
  reboot(): Promise<void>;
  /** Processes of the helper: its launcher, the worker, and who holds volumes. */
  readonly nativePids: readonly number[];
  /** What daemon and helper have said last. */
  readonly words: string;
}

export interface HostOptions {
  /** The user that runs the daemon; the helper and the commands stay root. Default: root. */
  readonly uid?: number;
  /** Where its directory is made: on which disk. */
  readonly parent?: string;
}

const readDeadlineOf = (config: { native?: { readDeadlineMs?: number } }) => {
  const readDeadlineMs = config.native?.readDeadlineMs;
  return readDeadlineMs === undefined ? {} : { readDeadlineMs };
};

/** Where a map of present blocks says in which boot it was last used. See native/src/device/map.rs. */
const BOOT_AT = 40;

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function pretendOtherBoot(map: string): void {
  const descriptor = openSync(map, 'r+');
  writeSync(descriptor, randomBytes(8), 0, 8, BOOT_AT);
  closeSync(descriptor);
}

/** Runs a program as an ordinary user. Where this tree lies in a directory that others can't enter, reading is allowed. */
function asUser(uid: number, command: readonly string[]): string[] {
  if (uid === 0) return [...command];
  const open = (path: string): boolean =>
    (statSync(path).mode & 0o001) !== 0 && (path === '/' || open(dirname(path)));
  const capabilities = open(import.meta.dirname)
    ? []
    : ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'];
  return ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...capabilities, '--', ...command];
}

export async function startHost(
  config: object = {},
  { uid = 0, parent = '/var/tmp' }: HostOptions = {},
): Promise<Host> {
  const directory = await mkdtemp(join(parent, 'drakkar-test-'));
  const state = join(directory, 'state');
  const nativeSocket = join(directory, 'native.sock');
  const configFile = join(directory, 'config.json');
  await mkdir(join(state, 'volumes'), { recursive: true });
  const complete = {
    stateDirectory: state,
    log: { level: 'error' },
    ...config,
    metrics: { port: 0 },
    mirror: { port: 0, ...('mirror' in config ? (config.mirror as object) : {}) },
    native: { socket: nativeSocket, ...('native' in config ? (config.native as object) : {}) },
  };
  await writeFile(configFile, JSON.stringify(complete));
  for (const path of [state, join(state, 'volumes')]) await chown(path, uid, uid);
  await chmod(directory, 0o755);
  const socket = join(state, ADMIN_SOCKET_NAME);
  const client = new AdminClient(socket);
  let helper: Helper | undefined;
  let daemon: ReturnType<typeof spawn> | undefined;
  let words = '';
  let earlierWords = '';
  const gone = async (child: ReturnType<typeof spawn>, signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
  };
  const host: Host = {
    directory,
    state,
    client,
    get daemonPid() {
      return daemon?.pid ?? 0;
    },
    get helperPid() {
      return helper?.pid ?? 0;
    },
    command: (...args) => [process.execPath, MAIN, '--socket', socket, ...args],
    async drakkar(...args) {
      const [program, ...rest] = host.command(...args);
      const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
      const [stdout, stderr] = [[] as Buffer[], [] as Buffer[]];
      child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
      child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
      const [code] = await once(child, 'close');
      return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
    },
    async start() {
      helper ??= await startHelper({
        root: join(directory, 'native'),
        content: join(state, 'volumes'),
        blobs: join(state, 'blobs', 'sha256'),
        socket: nativeSocket,
        uid,
        ...readDeadlineOf(config),
        signal: AbortSignal.timeout(START_DEADLINE_MS),
      });
      if (daemon !== undefined) return;
      const [program = '', ...args] = asUser(uid, [process.execPath, MAIN, '--config', configFile, 'daemon']);
      const child = spawn(program, args, {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      daemon = child;
      child.stderr.on('data', (bytes) => {
        words = (words + bytes).slice(-16_000);
      });
      const deadline = AbortSignal.timeout(START_DEADLINE_MS);
      while (!(await client.status().then(Boolean, () => false))) {
        if (child.exitCode !== null) throw new Error(`the daemon ended: ${words}`);
        await delay(20, undefined, { signal: deadline });
      }
    },
    async kill(part, signal = 'SIGKILL') {
      if (part === 'helper' && helper !== undefined) {
        process.kill(helper.pid, signal);
        await helper[Symbol.asyncDispose]();
        helper = undefined;
      }
      if (part === 'daemon' && daemon !== undefined) {
        await gone(daemon, signal);
        daemon = undefined;
      }
    },
    async killAll() {
      const left = helper;
      earlierWords += left?.words ?? '';
      helper = undefined;
      const native = () => helperProcesses(join(directory, 'native'));
      const pids = [left?.pid ?? 0, daemon?.pid ?? 0, ...native()];
      // Who holds has heirs, which take over from one that dies before them.
      for (const signal of ['SIGSTOP', 'SIGKILL'] as const)
        for (const pid of pids) if (pid > 0) process.kill(pid, signal);
      const deadline = AbortSignal.timeout(START_DEADLINE_MS);
      for (let heirs = native(); heirs.length > 0; heirs = native()) {
        for (const pid of heirs) killIfThere(pid);
        await delay(1, undefined, { signal: deadline });
      }
      if (daemon !== undefined) await gone(daemon, 'SIGKILL');
      daemon = undefined;
      await left?.ended;
    },
    async reboot() {
      await host.killAll();
      for (const path of mountsBelow(directory)) execFileSync('umount', ['--lazy', path]);
      const maps = join(directory, 'native', 'devices');
      for (const name of existsSync(maps) ? readdirSync(maps) : []) pretendOtherBoot(join(maps, name));
      await host.start();
    },
    get nativePids() {
      return [helper?.pid ?? 0, ...helperProcesses(join(directory, 'native'))].filter((pid) => pid > 0);
    },
    get words() {
      return earlierWords + (helper?.words ?? '') + words;
    },
    async [Symbol.asyncDispose]() {
      try {
        await host.start();
        for (const snapshot of await client.snapshots()) {
          if (snapshot.path !== null) await client.umountSnapshot(snapshot.manifestDigest);
        }
      } finally {
        if (daemon !== undefined) await gone(daemon, 'SIGTERM');
        await helper?.[Symbol.asyncDispose]();
        // What a test that failed has left in use.
        for (const path of mountsBelow(directory)) execFileSync('umount', ['--lazy', path]);
        await rm(directory, { recursive: true, force: true, maxRetries: 10 });
      }
    },
  };
  await host.start();
  return host;
}
