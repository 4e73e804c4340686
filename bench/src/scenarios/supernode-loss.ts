import { setTimeout as sleep } from 'node:timers/promises';
import { type Fleet, startFleet } from '../fleet/fleet.ts';
import { upstreamBytesOf } from '../fleet/moved.ts';
import { linkMs } from '../fleet/network.ts';
import { requireAllRight } from '../fleet/right.ts';
import { blobSource, type Source } from '../fleet/source.ts';
import { untilJoined } from '../fleet/until.ts';
import { atMost } from '../runner/results.ts';
import { median, timed } from '../runner/samples.ts';
import { warmMemory } from '../runner/warm-memory.ts';
import type { Scenario } from '../scenario.ts';

const RATE = 100e6;
const FULL = { hosts: 8, sizeBytes: 200e6 };
const QUICK = { hosts: 4, sizeBytes: 20e6 };
const MAX_ROUNDS = 5;

const METHOD = [
  'One supernode. A fresh blob goes to all hosts at once, in turns undisturbed and with the supernode killed by SIGKILL when a third of the time has passed that the blob takes over one link.',
  'It stays away until all hosts have all of the blob, every byte of which is hashed again then.',
].join(' ');

interface Run {
  readonly elapsedMs: readonly number[];
  /** What the registry gave, against the size. */
  readonly upstream: number;
}

/** A cold herd that loses the only supernode on the way. */
export const supernodeLoss: Scenario = async ({ rounds, isQuick, onSample }) => {
  const { hosts, sizeBytes } = isQuick ? QUICK : FULL;
  const idealMs = linkMs(sizeBytes, RATE);
  await using fleet = await startFleet({ hosts, rate: RATE, namespaces: true });
  await using source = blobSource(fleet, sizeBytes);
  await untilJoined(fleet);
  const runs = { undisturbed: [] as Run[], killed: [] as Run[] };
  // The first warms up: processes, the connections between them.
  await distributeOnce(fleet, source, 'warm-up');
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1) {
    if (round > 0) {
      await fleet.supernode.start();
      await untilJoined(fleet);
    }
    for (const which of ['undisturbed', 'killed'] as const) {
      const killing = which === 'killed' ? { afterMs: idealMs / 3 } : undefined;
      const run = await distributeOnce(fleet, source, `${which}-${round}`, killing);
      runs[which].push(run);
      onSample(which, round, { wallMs: Math.max(...run.elapsedMs) });
    }
  }
  const slowest = (all: readonly Run[]) => all.map(({ elapsedMs }) => ({ wallMs: Math.max(...elapsedMs) }));
  const wallOf = (all: readonly Run[]) => median(slowest(all).map(({ wallMs }) => wallMs));
  return [
    {
      name: 'supernode-loss',
      title: `${sizeBytes / 1e6} MB to ${hosts} hosts at once, links of 100 Mbit/s, the only supernode killed on the way`,
      method: METHOD,
      series: [
        { name: 'drakkar, slowest host', samples: slowest(runs.undisturbed) },
        { name: 'drakkar, slowest host, supernode killed', samples: slowest(runs.killed) },
        { name: 'size ÷ link rate', samples: [{ wallMs: idealMs }] },
      ],
      input: { sizeBytes, hosts, rate: RATE, runs },
      claims: [
        atMost(
          'only supernode killed: slowest host, against undisturbed',
          wallOf(runs.killed) / wallOf(runs.undisturbed),
          '×',
          1.3,
        ),
        atMost(
          'only supernode killed: bytes that the registry gave, against the size, the most',
          Math.max(...runs.killed.map(({ upstream }) => upstream)),
          '×',
          1.1,
        ),
      ],
    },
  ];
};

async function distributeOnce(
  fleet: Fleet,
  source: Source,
  name: string,
  killing?: { readonly afterMs: number },
): Promise<Run> {
  const { image, layers, sizeBytes } = await source.push(name);
  await warmMemory(sizeBytes * (fleet.hosts.length + 1));
  const before = await upstreamBytesOf(fleet);
  const [elapsedMs] = await Promise.all([
    Promise.all(fleet.hosts.map((host) => timed(() => source.fetch(host, image)))),
    killing && sleep(killing.afterMs).then(() => fleet.supernode.kill('SIGKILL')),
  ]);
  const upstream = ((await upstreamBytesOf(fleet)) - before) / sizeBytes;
  await requireAllRight(fleet.hosts, layers);
  return { elapsedMs, upstream };
}
