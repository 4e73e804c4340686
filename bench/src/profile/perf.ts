import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { startChild } from '@drakkar/lab';
import { foldPerf, type Stacks, type TimeWindow } from './stacks.ts';

const HERTZ = 997;
const MOST_TEXT_BYTES = 2 ** 30;

const run = promisify(execFile);

/** Processes that perf(1) looks at until it is told to stop. */
export interface Perf {
  /** @returns what they did within the windows */
  stop(windows: readonly TimeWindow[]): Promise<Stacks>;
}

/** @returns nothing where perf is not installed or may not look */
export async function startPerf(
  pids: readonly number[],
  process: string,
  path: string,
): Promise<Perf | undefined> {
  try {
    await run('perf', ['stat', '--event', 'cpu-clock', '--', 'true']);
  } catch {
    return undefined;
  }
  const options = ['--freq', `${HERTZ}`, '--clockid', 'mono', '--call-graph', 'fp', '--output', path];
  const child = startChild('perf', ['record', '--event', 'cpu-clock', ...options, '--pid', pids.join(',')]);
  return {
    async stop(windows) {
      const closed = once(child.process, 'close');
      child.process.kill('SIGINT');
      await closed;
      const { stdout } = await run('perf', ['script', '--input', path], { maxBuffer: MOST_TEXT_BYTES });
      await rm(path);
      return foldPerf(stdout, process, 1e6 / HERTZ, windows);
    },
  };
}
