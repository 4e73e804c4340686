import { readdirSync, readFileSync } from 'node:fs';

/** Processes that have `word` in their command line; those that end meanwhile are left out. */
export function processesWith(word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => read(`/proc/${name}/cmdline`).includes(word))
    .map(Number);
}

/** The builder that a daemon runs just now. */
export function builderOf(daemonPid: number): number | undefined {
  return processesWith('builder-process').find((pid) =>
    new RegExp(`^PPid:\\t${daemonPid}$`, 'm').test(read(`/proc/${pid}/status`)),
  );
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
