import { execFile } from 'node:child_process';
import { rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DrakkarError, type ErrorCode } from '@drakkar/errors';
import { isThere } from './files.ts';

const run = promisify(execFile);

/** Containerd reads its disk first, on a full node for some time. */
const BACK_MS = 120_000;
const POLL_MS = 100;

/** How a containerd is started again. */
export interface Restarter {
  /** @throws `unavailable` where it does not come back */
  restart(signal: AbortSignal): Promise<void>;
}

/** @param units the first that is active is restarted @throws `unsupported` where systemd can't be asked */
export const bySystemd = (units: readonly string[]): Restarter => ({
  async restart() {
    const services = units.map((unit) => `${unit}.service`);
    const list = ['list-units', '--plain', '--no-legend', '--state=active', ...services];
    const { stdout } = await run('systemctl', list).catch(notRestarted('unsupported'));
    const [active] = stdout.split(/\s/).filter(Boolean);
    await run('systemctl', ['restart', active ?? services[0] ?? '']).catch(notRestarted('unavailable'));
  },
});

const notRestarted = (code: ErrorCode) => (cause: unknown) => {
  throw new DrakkarError(code, 'containerd could not be restarted', {
    hint: 'restart it yourself',
    cause,
  });
};

/**
 * By ending the containerd at a socket, which what has started it starts again.
 *
 * @throws `unsupported` for one before 1.7, which does not say which process it is, or one that this process can't see; `forbidden` where it may not be ended
 */
export async function byEnding(
  socket: string,
  signal: AbortSignal,
  backMs: number = BACK_MS,
): Promise<Restarter> {
  const { containerdAt } = await import('@drakkar/containerd');
  const { process: before } = await containerdAt(socket, signal);
  const { ino: own } = await stat('/proc/self/ns/pid', { bigint: true });
  if (before === undefined || before.namespace !== own) {
    throw new DrakkarError(
      'unsupported',
      `which process containerd is at ${socket} can't be told from here`,
      {
        hint: before === undefined ? 'only 1.7 and later say it' : 'a pod must have hostPID for that',
      },
    );
  }
  requireSignal(before.pid);
  let { pid } = before;
  return {
    async restart(until) {
      if (isRunning(pid)) process.kill(pid, 'SIGTERM');
      const late = AbortSignal.timeout(backMs);
      while (!late.aborted) {
        await delay(POLL_MS, undefined, { signal: until });
        const now = await containerdAt(socket, until).catch(() => undefined);
        if (now?.process === undefined || now.process.pid === pid) continue;
        ({ pid } = now.process);
        return;
      }
      throw new DrakkarError('unavailable', `containerd has not come back within ${backMs / 1000} seconds`);
    },
  };
}

function requireSignal(pid: number): void {
  try {
    process.kill(pid, 0);
  } catch (cause) {
    throw new DrakkarError('forbidden', `containerd, process ${pid}, may not be ended from here`, {
      hint: 'a pod needs the capability KILL, and no AppArmor profile',
      cause,
    });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/**
 * Has containerd take over what is written. Until it has, a file beside its configuration says so: whoever does this again restarts it, though nothing is left to be
 * written.
 */
export class TakeOver {
  readonly #mark: string;
  readonly #restarter: Restarter | undefined;

  /** @param restarter nothing where somebody else restarts it */
  constructor(configPath: string, restarter: Restarter | undefined) {
    this.#mark = `${configPath}.drakkar-restart`;
    this.#restarter = restarter;
  }

  /** Whether an earlier restart is due. */
  async isDue(): Promise<boolean> {
    return this.#restarter !== undefined && (await isThere(this.#mark));
  }

  /** @param needsRestart of what is written @throws as a restarter does */
  async write(write: () => Promise<void>, needsRestart: boolean, signal: AbortSignal): Promise<void> {
    if (!needsRestart || this.#restarter === undefined) return await write();
    await writeFile(this.#mark, '');
    await write();
    await this.#restarter.restart(signal);
    await rm(this.#mark);
  }

  /** What was written is not taken over: it is taken back, and containerd begins as before. */
  async takeBack(undo: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    await undo();
    await this.#restarter?.restart(signal);
    await rm(this.#mark);
  }
}
