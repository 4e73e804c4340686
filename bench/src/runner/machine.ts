import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ADMIN_SOCKET_NAME, AdminClient } from '@drakkar/client';
import { nativeSocketOf, startHelperIn } from './helper.ts';

const CLI = join(import.meta.dirname, '../../../cli/src/main.js');
const START_DEADLINE_MS = 30_000;

/** A daemon and a helper as the processes that users run, on a state directory of their own. */
export interface BenchMachine extends AsyncDisposable {
  readonly directory: string;
  readonly socket: string;
  readonly client: AdminClient;
  readonly daemonPid: number;
  /** The argument list that runs the `drakkar` command against this daemon. */
  command(args: readonly string[]): string[];
}

/**
 * Ends with its scope, with everything that it mounted.
 *
 * @param settings of the daemon's configuration, beside our own
 */
export async function startBenchMachine(
  settings: Readonly<Record<string, object>> = {},
): Promise<BenchMachine> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-bench-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const state = join(directory, 'state');
  stack.use(await startHelperIn(directory));
  const config = join(directory, 'config.json');
  const document = {
    stateDirectory: state,
    mirror: { port: 0 },
    metrics: { port: 0 },
    log: { level: 'warn' },
    ...settings,
    native: { socket: nativeSocketOf(directory), ...settings.native },
  };
  await writeFile(config, JSON.stringify(document));
  const daemon = spawn(process.execPath, [CLI, '--config', config, 'daemon'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  stack.defer(async () => {
    if (daemon.exitCode !== null) return;
    const closed = once(daemon, 'close');
    daemon.kill('SIGTERM');
    await closed;
  });
  const socket = join(state, ADMIN_SOCKET_NAME);
  const client = new AdminClient(socket);
  const deadline = AbortSignal.timeout(START_DEADLINE_MS);
  while (!(await client.status().then(Boolean, () => false)))
    await delay(20, undefined, { signal: deadline });
  const running = stack.move();
  return {
    directory,
    socket,
    client,
    daemonPid: daemon.pid ?? 0,
    command: (args) => [process.execPath, CLI, '--socket', socket, ...args],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
