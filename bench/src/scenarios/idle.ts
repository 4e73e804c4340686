import { setTimeout as sleep } from 'node:timers/promises';
import { startFleet } from '../fleet/fleet.ts';
import { cpuMsOf, treeRssBytes } from '../runner/process.ts';
import { atMost, type Result } from '../runner/results.ts';
import { median } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const MEBIBYTE = 1024 * 1024;
const HOSTS = 3;
/** What a start leaves behind has settled by then. */
const SETTLE_MS = 30_000;
const WATCH_MS = 60_000;

/** Daemons in a swarm in which nothing happens. */
export const idle: Scenario = async ({ onSample }) => {
  await using fleet = await startFleet({ hosts: HOSTS, daemon: () => ({ swarm: { mdns: true } }) });
  await sleep(SETTLE_MS);
  const cpuBefore = await Promise.all(fleet.hosts.map(({ pid }) => cpuMsOf(pid)));
  await sleep(WATCH_MS);
  const samples = await Promise.all(
    fleet.hosts.map(async ({ pid }, index) => ({
      wallMs: WATCH_MS,
      cpuMs: (await cpuMsOf(pid)) - (cpuBefore[index] ?? 0),
      peakRssBytes: await treeRssBytes(pid),
    })),
  );
  for (const [index, sample] of samples.entries()) onSample(`host ${index}`, 0, sample);
  const rss = median(samples.map(({ peakRssBytes }) => peakRssBytes));
  const cpu = median(samples.map(({ cpuMs }) => cpuMs));
  const result: Result = {
    name: 'idle',
    title: 'Daemons in a swarm, idle for a minute',
    series: [{ name: 'host', samples }],
    input: { hosts: HOSTS, settleMs: SETTLE_MS, watchMs: WATCH_MS },
    claims: [
      atMost('idle daemon: RSS', rss / MEBIBYTE, 'MiB', 160),
      atMost('idle daemon: of one core', (cpu / WATCH_MS) * 100, '%', 1),
    ],
  };
  return [result];
};
