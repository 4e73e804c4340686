import { readdir, readFile } from 'node:fs/promises';

/** Kernel clock ticks a second: 100 on every architecture that Linux runs Node on (USER_HZ). */
const TICK_MS = 10;

/** User and system time of a process and of its children that have ended. Source: proc(5), /proc/pid/stat. */
export async function cpuMsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The command may hold blanks; it ends with the last parenthesis. Fields count from 3 behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = [14, 15, 16, 17].reduce((total, field) => total + Number(fields[field - 3]), 0);
  return ticks * TICK_MS;
}

/** What a process and all its descendants hold. */
export interface Held {
  readonly rssBytes: number;
  readonly fds: number;
  readonly threads: number;
}

/** Now. Source: proc(5). */
export async function heldByTree(pid: number): Promise<Held> {
  const fds = (await readdir(`/proc/${pid}/fd`).catch(() => [])).length;
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+([0-9]+)`, 'm').exec(status)?.[1] ?? 0);
  let held = { rssBytes: field('VmRSS') * 1024, fds, threads: field('Threads') };
  for (const child of await childrenOf(pid)) {
    const { rssBytes, fds, threads } = await heldByTree(child);
    held = { rssBytes: held.rssBytes + rssBytes, fds: held.fds + fds, threads: held.threads + threads };
  }
  return held;
}

/** Resident bytes of a process and all its descendants now. */
export async function treeRssBytes(pid: number): Promise<number> {
  const own = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kibibytes = Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(own)?.[1] ?? 0);
  let total = kibibytes * 1024;
  for (const child of await childrenOf(pid)) total += await treeRssBytes(child);
  return total;
}

async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return children
    .split(' ')
    .filter((text) => text !== '')
    .map(Number);
}

const SAMPLE_INTERVAL_MS = 20;

/** The most that a process and its descendants have resident together while a task runs, looked at every 20 ms. */
export async function peakRssWhile<Value>(
  pid: number,
  task: () => Promise<Value>,
): Promise<{ value: Value; peakRssBytes: number }> {
  let peakRssBytes = 0;
  let running = true;
  const watching = (async () => {
    while (running) {
      peakRssBytes = Math.max(peakRssBytes, await treeRssBytes(pid));
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_INTERVAL_MS));
    }
  })();
  try {
    return {
      value: await task(),
      get peakRssBytes() {
        return peakRssBytes;
      },
    };
  } finally {
    running = false;
    await watching;
  }
}
