import { execFile } from 'node:child_process';
import type { StatsFs } from 'node:fs';
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { DaemonStatus } from '@drakkar/client';
import { type Config, nativeProgram, probeKernel } from '@drakkar/daemon';
import { type DrakkarError, errnoOf, toDrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import type { Context } from '../context.ts';
import {
  type Check,
  daemonChecks,
  describeCheck,
  diskCheck,
  kernelChecks,
  programCheck,
} from '../doctor/checks.ts';
import { swarmChecks } from '../doctor/swarm-checks.ts';

const CONNECT_MS = 2_000;

/** `drakkar doctor`: what this machine can do, and what to do where it can't. */
export const commands = [
  defineCommand({
    name: 'doctor',
    summary: 'examine kernel, helper, daemon, swarm, disk and containerd, and say what to do',
    positionals: [],
    options: {},
    async run(context) {
      const checks = await examine(context);
      context.answer({ checks }, checks.map(describeCheck).join('\n'));
      if (checks.some(({ verdict }) => verdict === 'failure')) process.exitCode = 1;
    },
  }),
];

async function examine(context: Context): Promise<Check[]> {
  const config = await context.config();
  const client = await context.client();
  const status = await client.status(context.signal).catch((cause: unknown) => toDrakkarError(cause));
  const stateDirectory = status instanceof Error ? config.stateDirectory : status.stateDirectory;
  const disk = await nearest(stateDirectory);
  return [
    ...(await kernel(status)),
    ...daemonChecks(status),
    ...(status instanceof Error ? [] : await swarm(status, config)),
    diskCheck(stateDirectory, disk.type, disk.bavail * disk.bsize, config.store.quotaBytes),
    programCheck('runc', await firstLine('runc', ['--version']), '`drakkar run`'),
    programCheck('containerd', await firstLine('containerd', ['--version']), 'the mirror'),
  ];
}

/** What the running helper says, else what the helper says when it is asked here. */
async function kernel(status: DaemonStatus | DrakkarError): Promise<Check[]> {
  if (!(status instanceof Error) && status.native !== null) return kernelChecks(status.native);
  if (process.getuid?.() !== 0) {
    const finding = 'what it can do, only root or a running helper can tell';
    return [
      { name: 'kernel', verdict: 'warning', finding, remedy: 'run this as root, or start `drakkar up`' },
    ];
  }
  const directory = await mkdtemp(join(tmpdir(), 'drakkar-doctor-'));
  try {
    return kernelChecks(await probeKernel(nativeProgram(), directory));
  } catch (cause) {
    const error = toDrakkarError(cause);
    return [{ name: 'kernel', verdict: 'failure', finding: error.message, remedy: error.hint }];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function swarm(status: DaemonStatus, { swarm: { address } }: Config): Promise<Check[]> {
  const { controlPort = 0, dataPort = 0 } = status.swarm ?? {};
  const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
  const [control, data] = await Promise.all([answers(host, controlPort), answers(host, dataPort)]);
  return swarmChecks(status.swarm, { control, data }, Date.now());
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_MS });
    const end = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
}

/** The file system that a directory is on, or will be. */
async function nearest(directory: string): Promise<StatsFs> {
  try {
    return await statfs(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || directory === '/') throw error;
    return nearest(dirname(directory));
  }
}

async function firstLine(program: string, args: string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: 5_000 });
    return stdout.split('\n', 1)[0];
  } catch {
    return undefined;
  }
}
