import { readFileSync } from 'node:fs';
import { processesWith } from '@drakkar/lab';

/** The builder that a daemon runs just now. */
export function builderOf(daemonPid: number): number | undefined {
  return processesWith('builder-process').find((pid) =>
    new RegExp(`^PPid:\\t${daemonPid}$`, 'm').test(statusOf(pid)),
  );
}

/** Empty when it has ended meanwhile. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return '';
  }
}
