import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonStatus } from '@drakkar/client';
import { defineCommand } from '../command-line/command.ts';
import { formatBytes, formatDuration, formatTable } from '../output/format.ts';

const INTERVAL_MS = 1_000;

/** `drakkar top`: what the daemon moves at the moment. */
export const commands = [
  defineCommand({
    name: 'top',
    summary: 'show every second what comes from where, and what goes to other hosts',
    positionals: [],
    options: { once: { summary: 'one second, and end' } },
    async run(context, _, { once }) {
      const client = await context.client();
      let before = await client.status(context.signal);
      let isRead = true;
      process.stdout.once('error', () => {
        isRead = false;
      });
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
    },
  }),
];

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
