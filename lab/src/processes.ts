import { readdirSync, readFileSync } from 'node:fs';

/** What the native helper runs: `work` fills volumes, and `hold` keeps what must outlive it. */
export type HelperProcess = 'work' | 'hold';

/** Processes that have `text` in their command line; those that end meanwhile are left out. */
export function processesWith(text: string): number[] {
  return processesWhere((words) => words.join('\0').includes(text));
}

/** Those that a native helper with this root directory has started. */
export function helperProcesses(root: string, kinds: readonly HelperProcess[] = ['work', 'hold']): number[] {
  return processesWhere(
    ([, kind, ...words]) =>
      kinds.some((one) => one === kind) && words.some((word) => word === root || word.startsWith(`${root}/`)),
  );
}

function processesWhere(matches: (words: readonly string[]) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => matches(wordsOf(name)))
    .map(Number);
}

function wordsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    return [];
  }
}
