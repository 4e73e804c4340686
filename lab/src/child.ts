import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';

/** A server program of the laboratory: ends with its scope, and tells its last words when it fails. */
export interface Child extends AsyncDisposable {
  readonly process: ChildProcess;
  /** The end of what it wrote to stdout and stderr; at most 16 KiB. */
  output(): string;
  /** SIGTERM, then SIGKILL after `graceMs`. Returns when the process is gone. */
  stop(graceMs?: number): Promise<void>;
}

const KEPT_OUTPUT_CHARACTERS = 16 * 1024;

export function startChild(
  command: string,
  args: readonly string[],
  options: Pick<SpawnOptions, 'cwd' | 'env'> = {},
): Child {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let kept = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      kept = (kept + text).slice(-KEPT_OUTPUT_CHARACTERS);
    });
  }
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      kept += String(error);
      resolve();
    });
  });
  const stop = async (graceMs = 5_000): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await gone;
    clearTimeout(timer);
  };
  return { process: child, output: () => kept, stop, [Symbol.asyncDispose]: () => stop() };
}

/** Polls until `ready` holds. @throws with the child's last words when it ends first or the deadline passes */
export async function untilReady(
  child: Child,
  what: string,
  ready: () => Promise<boolean>,
  deadlineMs = 30_000,
): Promise<void> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    if (await ready()) return;
    if (
      child.process.exitCode !== null ||
      child.process.signalCode !== null ||
      child.process.pid === undefined
    )
      throw new Error(`${what} ended before it was ready:\n${child.output()}`);
    if (Date.now() > end) {
      await child.stop(0);
      throw new Error(`${what} was not ready within ${deadlineMs} ms:\n${child.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether a server answers, whatever it says. @param status what alone counts, where given */
export const answersAt = (url: string, status?: number): Promise<boolean> =>
  fetch(url).then(
    async (answer) => {
      await answer.body?.cancel();
      return status === undefined || answer.status === status;
    },
    () => false,
  );
