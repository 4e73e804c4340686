import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const LOOK_MS = 10_000;
/** Who needs less of a core than this between two looks does nothing that a pause of some 50 ms would hold up. */
const IDLE_SHARE = 0.02;
/** Growth since the last time that is worth the pause. */
const SLACK_BYTES = 16 * 1024 * 1024;

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: string }) => void;

/**
 * Gives memory back when the process is idle: V8 keeps what its heap has once needed, tens of MiB after a start or a large pull, for as
 * long as nothing else is allocated.
 */
export function releaseMemoryWhenIdle(idleShare = IDLE_SHARE): Disposable {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as Collect;
  let cpuBefore = process.cpuUsage();
  let keptBytes = 0;
  const timer = setInterval(async () => {
    const { user, system } = process.cpuUsage(cpuBefore);
    cpuBefore = process.cpuUsage();
    const isIdle = (user + system) / 1000 < idleShare * LOOK_MS;
    if (!isIdle || process.memoryUsage().heapTotal - keptBytes < SLACK_BYTES) return;
    const zz = performance.now();
    const before = process.memoryUsage();
    collect({ type: 'major', execution: 'sync', flavor: process.env.ZZF ?? 'last-resort' });
    keptBytes = process.memoryUsage().heapTotal;
    if (process.env.ZZGC)
      (await import('node:fs')).appendFileSync(
        process.env.ZZGC,
        `${process.title} ${Math.round(performance.now() - zz)} ms ${(before.heapTotal / 2 ** 20) | 0} -> ${(keptBytes / 2 ** 20) | 0} rss ${(before.rss / 2 ** 20) | 0} -> ${(process.memoryUsage().rss / 2 ** 20) | 0}\n`,
      );
    cpuBefore = process.cpuUsage();
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
