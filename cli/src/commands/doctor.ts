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
import { MANIFEST_ACCEPT, parseReference } from '@drakkar/protocol';
import { isAnswered } from '@drakkar/service';
import type { TomlTable } from 'smol-toml';
import { defineCommand } from '../command-line/command.ts';
import { readConfiguration } from '../configure/files.ts';
import { ALL_REGISTRIES, findHosts } from '../configure/hosts-toml.ts';
import { findPlace } from '../configure/places.ts';
import {
  CONTAINERD_CONFIG_PATH,
  hostsDirectoryIn,
  newFile,
  parseContainerdVersion,
  SNAPSHOTTER,
} from '../configure/plan.ts';
import { parseToml, valueAt } from '../configure/toml-edit.ts';
import type { Context } from '../context.ts';
import {
  type Check,
  daemonChecks,
  describeCheck,
  diskCheck,
  kernelChecks,
  programCheck,
} from '../doctor/checks.ts';
import { containerdChecks, hostsOf } from '../doctor/containerd-checks.ts';
import { swarmChecks } from '../doctor/swarm-checks.ts';

const MAX_DUMP_BYTES = 4 * 1024 * 1024;
const CONNECT_MS = 2_000;
const ASK_MS = 10_000;

/** `drakkar doctor`: what this machine can do, and what to do where it can't. */
export const commands = [
  defineCommand({
    name: 'doctor',
    summary: 'examine kernel, helper, daemon, swarm, disk and containerd, and say what to do',
    positionals: [],
    options: {
      image: { summary: 'ask for this image as containerd would, and say who answers', value: 'image' },
      'containerd-config': {
        summary: `containerd’s configuration, unless it is ${CONTAINERD_CONFIG_PATH} or that of k3s or RKE2`,
        value: 'file',
      },
      'containerd-program': { summary: 'containerd itself, unless it is on the PATH', value: 'file' },
    },
    async run(context, _, flags) {
      const checks = await examine(context, flags);
      context.answer({ checks }, checks.map(describeCheck).join('\n'));
      if (checks.some(({ verdict }) => verdict === 'failure')) process.exitCode = 1;
    },
  }),
];

type Flags = Readonly<Record<'image' | 'containerd-config' | 'containerd-program', string | undefined>>;

async function examine(context: Context, flags: Flags): Promise<Check[]> {
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
    ...(await containerd(context, status, flags)),
  ];
}

/** Which snapshotter and mirror containerd will use, and, of an image, whom it will ask in which order. */
async function containerd(
  context: Context,
  status: DaemonStatus | DrakkarError,
  flags: Flags,
): Promise<Check[]> {
  const { image } = flags;
  const place = await findPlace();
  const path = flags['containerd-config'] ?? place.generated ?? place.config;
  const program = flags['containerd-program'] ?? place.program;
  const line = await firstLine(program, ['--version']);
  const known = programCheck('containerd', line, 'the mirror and the snapshotter');
  if (line === undefined) return [known];
  const offer = status instanceof Error ? undefined : status;
  try {
    const version = parseContainerdVersion(line);
    const text = (await mergedConfiguration(program, path)) ?? (await readConfiguration(path));
    const document = parseToml(text ?? newFile(version), path);
    const directories = hostsDirectoryIn(document, path)?.split(':') ?? [];
    const socket = valueAt(document, ['proxy_plugins', SNAPSHOTTER, 'address']);
    const checks = containerdChecks({
      version,
      path,
      document,
      offer,
      isSocketAnswered: typeof socket === 'string' && (await isAnswered(socket)),
      defaultHosts: await hostsToml(directories, ALL_REGISTRIES),
    });
    return [known, ...checks, ...(image === undefined ? [] : await imageChecks(context, image, directories))];
  } catch (cause) {
    const error = toDrakkarError(cause);
    return [known, { name: 'containerd', verdict: 'failure', finding: error.message, remedy: error.hint }];
  }
}

/** What containerd makes of its configuration, with what that imports, and its defaults. Nothing where it can't tell. */
async function mergedConfiguration(program: string, path: string): Promise<string | undefined> {
  try {
    const args = ['--config', path, 'config', 'dump'];
    const { stdout } = await promisify(execFile)(program, args, {
      timeout: 5_000,
      maxBuffer: MAX_DUMP_BYTES,
    });
    return stdout;
  } catch {
    return undefined;
  }
}

/** Asks for an image as containerd would: whoever answers first is whom it takes it from. */
async function imageChecks(context: Context, text: string, directories: readonly string[]): Promise<Check[]> {
  const reference = parseReference(text);
  const { registry, repository, tag, digest } = reference;
  const hosts = hostsOf(await hostsToml(directories, registry), registry);
  const checks: Check[] = [];
  for (const { url, isRegistry, resolves } of hosts) {
    const name = isRegistry ? 'registry' : 'host';
    if (!resolves) {
      checks.push({
        name,
        verdict: 'ok',
        finding: `${url} is not asked what ${text} means, only for content`,
      });
      continue;
    }
    const namespace = isRegistry ? '' : `?ns=${registry}`;
    const answer = await manifestAnswer(`${url}/v2/${repository}/manifests/${digest ?? tag}${namespace}`);
    const isTaken = answer === 'HTTP 200';
    checks.push({
      name,
      verdict: isTaken ? 'ok' : 'warning',
      finding: `${url} answers for ${text}: ${answer}${isTaken ? ', and containerd takes it from there' : ''}`,
      remedy: 'containerd goes on with the next; a 401 is answered with the pull secret',
    });
    if (isTaken) break;
  }
  return [...checks, await snapshotCheck(context, text)];
}

/** Whether the image would be unpacked. */
async function snapshotCheck(context: Context, text: string): Promise<Check> {
  const name = 'snapshot';
  const { signal } = context;
  try {
    const client = await context.client();
    const { manifestDigest } = await client.pull({ image: text, layers: false }, { signal });
    const snapshots = await client.snapshots(signal);
    const known = snapshots.find((snapshot) => snapshot.manifestDigest === manifestDigest);
    if (known !== undefined) {
      const finding = `that of ${manifestDigest} is here (${known.origin}): nothing is unpacked`;
      return { name, verdict: 'ok', finding };
    }
    return {
      name,
      verdict: 'warning',
      finding: `there is none of ${manifestDigest} here: the cluster and its registry are asked at the pull, and where they have none it is unpacked`,
      remedy: `drakkar snapshot build ${text}`,
    };
  } catch (cause) {
    const { message, hint } = toDrakkarError(cause);
    const finding = `the daemon can’t tell: ${message}`;
    const remedy =
      hint ?? 'give it a credential of its own (registries.credentials), or pull through its mirror';
    return { name, verdict: 'warning', finding, remedy };
  }
}

async function manifestAnswer(url: string): Promise<string> {
  try {
    const headers = { accept: MANIFEST_ACCEPT };
    const { status } = await fetch(url, { method: 'HEAD', headers, signal: AbortSignal.timeout(ASK_MS) });
    return `HTTP ${status}`;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return cause instanceof Error ? cause.message : String(cause);
  }
}

/** What containerd is told of a registry. */
async function hostsToml(directories: readonly string[], registry: string): Promise<TomlTable | undefined> {
  const found = await findHosts(directories, registry);
  return found?.text === undefined ? undefined : parseToml(found.text, found.path);
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
