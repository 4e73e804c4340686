import type { NativeHelper } from '@drakkar/daemon';
import { helperProcesses } from '@drakkar/lab';
import type { Member } from '../fleet/member.ts';

/** A process that may be killed at any moment; somebody else, or nobody, starts it again. */
export interface Victim {
  readonly name: string;
  /** It is left alone so long after it was killed: until it is likely to be back. */
  readonly pauseMs: number;
  /** @returns whether there was one to kill */
  kill(): Promise<boolean>;
}

const strike = (pid: number): boolean => {
  try {
    return pid > 0 && process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
};

/** The process of the helper that fills; its launcher starts another. */
export function workerOf(helper: NativeHelper): Victim {
  return {
    name: 'worker',
    pauseMs: 60,
    async kill() {
      const { workerPid } = helper;
      // Whether it is the one that answered last, or has died already, is found out with the next question.
      await helper.volumes().catch(() => undefined);
      return strike(helper.workerPid ?? workerPid ?? 0);
    },
  };
}

/** One of the processes that the kernel asks, or that wait to be in its place. */
export function holderOf(root: string): Victim {
  return {
    name: 'holder',
    pauseMs: 15,
    async kill() {
      const holders = helperProcesses(root, ['hold']);
      return strike(holders[Math.floor(Math.random() * holders.length)] ?? 0);
    },
  };
}

/** A daemon or a supernode, which is started again at once. */
export function memberOf(name: string, member: Member): Victim {
  return {
    name,
    pauseMs: 2_500,
    async kill() {
      await member.kill('SIGKILL');
      await member.start();
      return true;
    },
  };
}
