import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, watch, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { DrakkarError, errnoOf, toDrakkarError } from '@drakkar/errors';

export interface ContainerOptions {
  readonly id: string;
  /**
   * Where the bundle is made, with the container's environment in it: a directory that only root may enter, and that goes
   * with the root file system, should we be killed before we can remove the bundle.
   */
  readonly directory: string;
  readonly spec: object;
  readonly terminal: boolean;
  /** Pass the caller's stdin on. */
  readonly interactive: boolean;
  /** Where the container's output goes: shown as it comes, or to our stderr so that stdout stays machine-readable. */
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  /** Kills the container. */
  readonly kill?: AbortSignal | undefined;
}

/** Called at most once each. */
export interface ContainerEvents {
  created(): void;
  firstOutput(): void;
}

/** Passed on to the container's first process. */
const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
];

const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/**
 * Runs a container with runc in the foreground, until it ends.
 *
 * @returns its exit code; 128 + the signal's number where one ended it
 * @throws `unsupported` without runc, `internal` where runc could not make the container
 */
export async function runContainer(options: ContainerOptions, events: ContainerEvents): Promise<number> {
  const bundle = join(options.directory, 'bundle');
  mkdirSync(bundle, { mode: 0o700 });
  try {
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(options.spec), { mode: 0o600 });
    return await runBundle(bundle, options, events);
  } finally {
    rmSync(bundle, { recursive: true, force: true });
  }
}

async function runBundle(
  bundle: string,
  options: ContainerOptions,
  events: ContainerEvents,
): Promise<number> {
  const kill = () => void killContainer(options.id).catch(() => child.kill('SIGKILL'));
  const created = once(() => {
    events.created();
    // Killed before there was anything to kill.
    if (options.kill?.aborted === true) kill();
  });
  const firstOutput = once(() => {
    created();
    events.firstOutput();
  });
  const watcher = watch(bundle, (_, name) => name === 'pid' && created());
  const args = ['--log', join(bundle, 'runc.log'), 'run', '--bundle', bundle];
  const child = spawn('runc', [...args, '--pid-file', join(bundle, 'pid'), options.id], {
    stdio: [
      options.interactive ? 'inherit' : 'ignore',
      options.terminal ? 'inherit' : 'pipe',
      options.terminal ? 'inherit' : 'pipe',
    ],
  });
  let lost: Error | undefined;
  options.kill?.addEventListener('abort', kill, { once: true });
  const outputs = [
    [child.stdout, options.stdout],
    [child.stderr, options.stderr],
  ] as const;
  for (const [from, to] of outputs) {
    from?.once('data', firstOutput);
    from?.pipe(to, { end: false });
    // Whoever read our output has gone, or it has no room: the container ends. runc ends only once somebody has taken what
    // it still holds.
    to.once('error', (error) => {
      if (errnoOf(error) !== 'EPIPE') lost ??= error;
      from?.unpipe(to).resume();
      kill();
    });
  }
  // With a terminal, the terminal itself sends SIGINT and SIGQUIT to both of us: there they are only kept from ending us.
  const forward = (signal: NodeJS.Signals) => {
    if (!options.terminal || !FROM_TERMINAL.includes(signal)) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    const code = await ended(child);
    if (lost !== undefined) throw outputLost(lost);
    if (existsSync(join(bundle, 'pid'))) return code;
    if (options.kill?.aborted === true) {
      throw new DrakkarError('cancelled', 'the container was ended before it had started');
    }
    throw new DrakkarError('internal', `runc could not start the container (exit code ${code})`, {
      hint: 'its message is above',
      details: { exitCode: code },
    });
  } finally {
    watcher.close();
    options.kill?.removeEventListener('abort', kill);
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

function outputLost(cause: Error): DrakkarError {
  const { code, message } = toDrakkarError(cause, 'unavailable');
  return new DrakkarError(code, `the container was ended, since its output can't be written: ${message}`, {
    hint: 'make room where its output goes, or send it elsewhere',
    cause,
  });
}

function ended(child: ReturnType<typeof spawn>): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => {
      const missing = errnoOf(cause) === 'ENOENT';
      reject(
        new DrakkarError(missing ? 'unsupported' : 'internal', `runc can't be started: ${cause.message}`, {
          hint: missing ? 'install runc' : undefined,
          cause,
        }),
      );
    });
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}

/** Ends a container with all its processes, if there is one of that id. */
export async function killContainer(id: string): Promise<void> {
  const child = spawn('runc', ['delete', '--force', id], { stdio: 'ignore' });
  await ended(child);
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    action();
  };
}
