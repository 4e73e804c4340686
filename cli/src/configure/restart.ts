import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DrakkarError } from '@drakkar/errors';

const run = promisify(execFile);

/** Containerd reads its disk first, on a full node for some time. */
const BACK_MS = 120_000;
const POLL_MS = 100;

/** @param units of systemd: the first that is active is restarted @throws `unavailable` */
export async function restartContainerd(units: readonly string[]): Promise<void> {
  try {
    const { stdout } = await run('systemctl', [
      'list-units',
      '--plain',
      '--no-legend',
      '--state=active',
      ...units.map((unit) => `${unit}.service`),
    ]);
    const [active = units[0] ?? ''] = stdout.split(/\s/);
    await run('systemctl', ['restart', active]);
  } catch (cause) {
    throw new DrakkarError('unavailable', 'containerd could not be restarted', {
      hint: RESTART_HINT,
      cause,
    });
  }
}

const RESTART_HINT = 'restart it yourself; the configuration is written';

/**
 * Ends the containerd at a socket, and waits until what has started it has started it again.
 *
 * @throws `unsupported` for one before 1.7, which does not say which process it is, or one that this process can't see; `unavailable` where it does not come back
 */
export async function endContainerd(socket: string, signal: AbortSignal): Promise<void> {
  const { containerdAt } = await import('@drakkar/containerd');
  const { process: before } = await containerdAt(socket, signal);
  const { ino: own } = await stat('/proc/self/ns/pid', { bigint: true });
  if (before === undefined || before.namespace !== own) {
    throw new DrakkarError(
      'unsupported',
      `which process containerd is at ${socket} can't be told from here`,
      {
        hint:
          before === undefined
            ? RESTART_HINT
            : 'a pod must have hostPID for that; the configuration is written',
      },
    );
  }
  process.kill(before.pid, 'SIGTERM');
  const late = AbortSignal.timeout(BACK_MS);
  while (!late.aborted) {
    await delay(POLL_MS, undefined, { signal });
    const now = await containerdAt(socket, signal).catch(() => undefined);
    if (now !== undefined && now.process?.pid !== before.pid) return;
  }
  throw new DrakkarError('unavailable', 'containerd has been ended, and does not come back', {
    hint: `${RESTART_HINT}, and drakkar configure containerd --undo takes it back`,
  });
}
