import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const LOOK_MS = 10_000;
/** Who needs less of a core than this between two looks does nothing that a pause of some 50 ms would hold up. */
const IDLE_SHARE = 0.02;
/** Growth since the last time that is worth the pause: so much, and half of what was kept. */
const SLACK_BYTES = 16 * 1024 * 1024;
/** A larger heap takes seconds to look through several times. */
const MOST_BYTES = 384 * 1024 * 1024;

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * Gives memory back when the process is idle: V8 keeps what its heap has once needed, tens of MiB after a start or a large pull, for as
 * long as nothing else is allocated.
 *
 * @param idleShare of a core
 */
export function releaseMemoryWhenIdle(idleShare = IDLE_SHARE): Disposable {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as Collect;
  let cpuBefore = process.cpuUsage();
  let keptBytes = 0;
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(cpuBefore);
    cpuBefore = process.cpuUsage();
    const isIdle = (user + system) / 1000 < idleShare * LOOK_MS;
    const { heapTotal } = process.memoryUsage();
    if (!isIdle || heapTotal > MOST_BYTES || heapTotal - keptBytes < Math.max(SLACK_BYTES, keptBytes / 2))
      return;
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    keptBytes = process.memoryUsage().heapTotal;
    cpuBefore = process.cpuUsage();
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** By so much the heap may grow, with what lies outside it, before V8 looks through it again: of itself a tenth, or some 24 MiB. */
const GROWTH_PERCENT = 200;

/**
 * For a process whose buffers come and go in masses: V8 looks through all of the heap whenever a few MiB of them are new, all the
 * time in a daemon that pulls twelve layers at once.
 */
export function collectLessOften(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
}
