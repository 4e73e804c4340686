import { setTimeout as delay } from 'node:timers/promises';
import type { NativeHelper } from '@drakkar/daemon';
import { helperProcesses } from '@drakkar/lab';

/** The holder and its heirs, of the helper that has this root directory. */
const holdersOf = (root: string) => helperProcesses(root, ['hold']);

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
