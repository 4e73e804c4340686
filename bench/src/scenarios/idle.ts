import { setTimeout as sleep } from 'node:timers/promises';
import { startFleet } from '../fleet/fleet.ts';
import { cpuMsOf, treeRssBytes } from '../runner/process.ts';
import { atMost, type Result } from '../runner/results.ts';
import { median } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const MEBIBYTE = 1024 * 1024;
const HOSTS = 3;
/** What a start leaves behind has settled by then. */
const SETTLE_MS = 30_000;
const WATCH_MS = 60_000;
const QUICK_MS = 3_000;

const METHOD =
  'Daemons of one swarm on one machine, with mDNS, are left alone, and then watched: CPU as the kernel counts it, resident memory at the end.';

/** Daemons in a swarm in which nothing happens. */
export const idle: Scenario = async ({ isQuick, onSample }) => {
  const [settleMs, watchMs] = isQuick ? [QUICK_MS, QUICK_MS] : [SETTLE_MS, WATCH_MS];
  await using fleet = await startFleet({ hosts: HOSTS, daemon: () => ({ swarm: { mdns: true } }) });
  await sleep(settleMs);
  const cpuBefore = await Promise.all(fleet.hosts.map(({ pid }) => cpuMsOf(pid)));
  await sleep(watchMs);
  const samples = await Promise.all(
    fleet.hosts.map(async ({ pid }, index) => ({
      wallMs: watchMs,
      cpuMs: (await cpuMsOf(pid)) - (cpuBefore[index] ?? 0),
      peakRssBytes: await treeRssBytes(pid),
    })),
  );
  for (const [index, sample] of samples.entries()) onSample(`host ${index}`, 0, sample);
  const rss = median(samples.map(({ peakRssBytes }) => peakRssBytes));
  const cpu = median(samples.map(({ cpuMs }) => cpuMs));
  const result: Result = {
    name: 'idle',
    title: `Daemons in a swarm, idle for ${watchMs / 1000} s`,
    method: METHOD,
    series: [{ name: 'host', samples }],
    input: { hosts: HOSTS, settleMs, watchMs },
    claims: [
      atMost('idle daemon: RSS', rss / MEBIBYTE, 'MiB', TARGETS.idleMemory.figure),
      atMost('idle daemon: of one core', (cpu / watchMs) * 100, '%', 1),
    ],
  };
  return [result];
};
