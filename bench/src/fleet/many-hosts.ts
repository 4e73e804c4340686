import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Crowd } from './crowd-process.ts';
import { type Fleet, startFleet } from './fleet.ts';

/** How many there are unless somebody wants it quicker. */
export const HOSTS = Number(process.env.DRAKKAR_BENCH_HOSTS ?? 10_000);
/** In the quick form of a benchmark. */
export const QUICK_HOSTS = 60;
const CROWDS = 4;
const NICENESS = 19;
/** After all have joined. */
const SETTLE_MS = 10_000;
const SETTLE_MS_OF_HOST = 10;

/** A supernode to which so many hosts are connected that are nothing but their links; everything ends with the stack. */
export async function startManyHosts(hosts: number, stack: AsyncDisposableStack): Promise<Fleet> {
  const fleet = stack.use(
    await startFleet({
      hosts: 0,
      supernode: { api: { port: 0, requestsPerMinute: 1_000_000, anonymousViewers: true } },
    }),
  );
  const directory = await mkdtemp('/var/tmp/drakkar-crowd-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const crowds = Array.from({ length: CROWDS }, () =>
    stack.use(new Crowd({ ...fleet.join, hosts: hosts / CROWDS, directory }, NICENESS)),
  );
  await Promise.all(crowds.map((crowd) => crowd.next()));
  await sleep(Math.min(SETTLE_MS, hosts * SETTLE_MS_OF_HOST));
  return fleet;
}
