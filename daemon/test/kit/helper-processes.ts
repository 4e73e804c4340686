import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { NativeHelper } from '@drakkar/daemon';

/** The holder and its heirs, of the helper that has this root directory. */
export function holdersOf(root: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const words = /^\d+$/.test(name) ? readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0') : [];
      return words[1] === 'hold' && words[2]?.startsWith(root) === true ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

/** SIGKILL for the worker, for the holder or one of its heirs, or for the worker and one of those. */
export function killSome(helper: NativeHelper, root: string): void {
  const [holder] = shuffled(holdersOf(root));
  const [one, other] = shuffled([helper.workerPid, holder]);
  killAll(Math.random() < 0.5 ? [one] : [one, other]);
}

/** Until none is left: others take the place of those that die. */
export async function killHolders(root: string): Promise<void> {
  for (let holders = holdersOf(root); holders.length > 0; holders = holdersOf(root)) {
    killAll(holders);
    await delay(1);
  }
}

/** SIGKILL. */
export function killAll(processes: readonly (number | null | undefined)[]): void {
  for (const pid of processes) {
    try {
      if (pid) process.kill(pid, 'SIGKILL');
    } catch {
      // It has died already.
    }
  }
}

const shuffled = <Item>(items: readonly Item[]): Item[] =>
  items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
