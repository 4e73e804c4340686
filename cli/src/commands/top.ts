import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonStatus, OverviewDocument } from '@drakkar/client';
import { defineCommand } from '../command-line/command.ts';
import type { Context } from '../context.ts';
import { formatBytes, formatDuration, formatTable } from '../output/format.ts';
import { repeat, watching } from '../output/repeat.ts';

const INTERVAL_MS = 1_000;

/** `drakkar top`: what the daemon moves at the moment. */
export const commands = [
  defineCommand({
    name: 'top',
    summary: 'show every second what comes from where, and what goes to other hosts',
    positionals: [],
    options: {
      once: { summary: 'one second, and end' },
      cluster: { summary: 'of all hosts together (--config names the supernode’s file)' },
    },
    async run(context, _, { once, cluster }) {
      if (cluster) return await watchCluster(context, !once);
      const client = await context.client();
      let before = await client.status(context.signal);
      let isRead = true;
      process.stdout.once('error', () => {
        isRead = false;
      });
      await watching(context, async () => {
        while (isRead) {
          await sleep(INTERVAL_MS, undefined, { signal: context.signal });
          const now = await client.status(context.signal);
          const rates = ratesOf(before, now);
          // A terminal shows the last second, a pipe all of them.
          const clear = process.stdout.isTTY && !context.json && !once ? '\x1b[H\x1b[2J' : '';
          context.answer(rates, clear + describe(now, rates));
          if (once) return;
          before = now;
        }
      });
    },
  }),
];

/** What all hosts move, as the supernode hears it from them. */
async function watchCluster(context: Context, isOn: boolean): Promise<void> {
  const { supernodeClient } = await import('../supernode-place.ts');
  const client = await supernodeClient(context);
  await repeat(context, isOn, async () => {
    const overview = await client.overview({ signal: context.signal });
    return { documents: [overview], text: describeCluster(overview) };
  });
}

function describeCluster({ hosts, traffic, starts, jobs }: OverviewDocument): string {
  const perSecond = (bytes: number) => `${formatBytes(bytes)}/s`;
  const all = traffic.peerBytes + traffic.upstreamBytes;
  const saved = all === 0 ? '–' : `${Math.floor((100 * traffic.peerBytes) / all)} %`;
  return formatTable(
    ['FROM REGISTRIES', 'FROM HOSTS', 'SAVED', 'HOSTS', 'JOBS', 'STARTS', 'HALF OF THEM WITHIN'],
    [
      [
        perSecond(traffic.upstreamBytesPerSecond),
        perSecond(traffic.peerBytesPerSecond),
        saved,
        `${hosts.connected}, ${hosts.away} away`,
        String(jobs.active),
        String(starts.count),
        starts.p50Ms === null ? '–' : formatDuration(starts.p50Ms),
      ],
    ],
  );
}

interface Rates {
  readonly upstreamBytesPerSecond: number;
  readonly receivedBytesPerSecond: number;
  readonly sentBytesPerSecond: number;
  readonly downloads: number;
  readonly uploads: number;
  readonly supernodeUp: boolean | null;
}

function ratesOf(before: DaemonStatus, now: DaemonStatus): Rates {
  const seconds = (now.uptimeMs - before.uptimeMs) / 1000;
  const rate = (figure: (status: DaemonStatus) => number) => (figure(now) - figure(before)) / seconds;
  return {
    upstreamBytesPerSecond: rate(({ traffic }) => traffic.upstreamBytes),
    receivedBytesPerSecond: rate(({ swarm }) => swarm?.receivedBytes ?? 0),
    sentBytesPerSecond: rate(({ swarm }) => swarm?.sentBytes ?? 0),
    downloads: now.traffic.downloads,
    uploads: now.swarm?.uploads ?? 0,
    supernodeUp: now.swarm?.supernode.up ?? null,
  };
}

function describe({ store, swarm }: DaemonStatus, rates: Rates): string {
  const perSecond = (bytes: number) => `${formatBytes(bytes)}/s`;
  return [
    formatTable(
      ['FROM REGISTRIES', 'FROM HOSTS', 'TO HOSTS', 'DOWNLOADS', 'SERVING', 'STORE'],
      [
        [
          perSecond(rates.upstreamBytesPerSecond),
          perSecond(rates.receivedBytesPerSecond),
          perSecond(rates.sentBytesPerSecond),
          String(rates.downloads),
          String(rates.uploads),
          `${formatBytes(store.usedBytes)} of ${formatBytes(store.quotaBytes)}`,
        ],
      ],
    ),
    ...(swarm === null
      ? ['alone: no supernode is configured']
      : swarm.supernode.up
        ? []
        : [
            `without the supernode for ${formatDuration(swarm.supernode.downMs)}: ${swarm.supernode.error?.message ?? 'connecting'}`,
          ]),
  ].join('\n');
}
