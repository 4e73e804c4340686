import { setTimeout as sleep } from 'node:timers/promises';
import { type Fleet, type FleetOptions, startFleet } from '../fleet/fleet.ts';
import { upstreamBytesOf } from '../fleet/moved.ts';
import { linkMs } from '../fleet/network.ts';
import { blobSource, imageSource, type Source } from '../fleet/source.ts';
import { atMost, type Result } from '../runner/results.ts';
import { median, timed } from '../runner/samples.ts';
import { warmMemory } from '../runner/warm-memory.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const SIZE_BYTES = 200e6;
const QUICK_SIZE_BYTES = 10e6;
const QUICK_HOSTS = 4;
const QUICK_HERDS = new Set(['distribute-8', 'distribute-racks']);
/** Runs that are longer than others are repeated less. */
const MAX_ROUNDS = 5;

const IDEAL = 'size ÷ link rate';

const METHOD =
  'Each host and the registry are in network namespaces behind links of that rate, both ways; what is distributed is new to all of them. One distribution, which is not counted, warms up processes and the connections between them.';

interface Herd {
  readonly name: string;
  readonly title: string;
  readonly fleet: FleetOptions & { readonly rate: number };
  readonly sizeBytes?: number;
  /** A real image, which the hosts' own containerds fetch through the mirrors; else one blob of random bytes that daemons pull. */
  readonly isImage?: boolean;
  /** From one host's start to the next. */
  readonly staggerMs?: number;
  /** What the median of the runs must not pass. */
  readonly targets: readonly {
    readonly what: string;
    readonly of: (run: Run) => number;
    readonly target: number;
  }[];
}

/** One distribution of a fresh blob to all hosts. */
interface Run {
  /** Of each host, from its own start. */
  readonly elapsedMs: readonly number[];
  readonly sizeBytes: number;
  /** The slowest, against the size over the rate of a link. */
  readonly slowest: number;
  /** What the registry gave, and what it put on its link, against the size. */
  readonly upstream: number;
  readonly registryWire: number;
  /** Over the link between the racks, against the size. */
  readonly thin: number;
}

const HERDS: readonly Herd[] = [
  {
    name: 'distribute-8',
    title: '200 MB to 8 hosts at once, links of 100 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, namespaces: true },
    targets: [
      {
        what: '8 hosts, 100 Mbit/s: slowest, against size ÷ link rate',
        of: ({ slowest }) => slowest,
        target: TARGETS.slowestHost.figure,
      },
      {
        what: '8 hosts: bytes that the registry gave, against the size',
        of: ({ upstream }) => upstream,
        target: TARGETS.upstream.figure,
      },
    ],
  },
  {
    name: 'distribute-24',
    title: '200 MB to 24 hosts at once, links of 30 Mbit/s',
    fleet: { hosts: 24, rate: 30e6, namespaces: true },
    targets: [
      {
        what: '24 hosts, 30 Mbit/s: slowest, against size ÷ link rate',
        of: ({ slowest }) => slowest,
        target: 1.25,
      },
      {
        what: '24 hosts: bytes that the registry gave, against the size',
        of: ({ upstream }) => upstream,
        target: TARGETS.upstream.figure,
      },
    ],
  },
  {
    name: 'distribute-image',
    title: 'An image of a dozen layers to 8 hosts at once through their containerds, links of 100 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, namespaces: true },
    isImage: true,
    targets: [
      {
        what: 'an image through containerd to 8 hosts: slowest, against size ÷ link rate',
        of: ({ slowest }) => slowest,
        target: 1.2,
      },
      {
        what: 'an image through containerd: bytes that the registry gave, against the size',
        of: ({ upstream }) => upstream,
        target: TARGETS.upstream.figure,
      },
    ],
  },
  {
    name: 'distribute-staggered',
    title: '200 MB to 8 hosts, one a second, links of 100 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, namespaces: true },
    staggerMs: 1000,
    targets: [
      {
        what: '8 hosts, one a second: slowest, against size ÷ link rate',
        of: ({ slowest }) => slowest,
        target: TARGETS.slowestHost.figure,
      },
      {
        what: 'staggered: bytes that the registry gave, against the size',
        of: ({ upstream }) => upstream,
        target: TARGETS.upstream.figure,
      },
    ],
  },
  {
    name: 'distribute-racks',
    title: '100 MB to two racks of 4 hosts, 100 Mbit/s, joined by 30 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, thinRate: 30e6, namespaces: true },
    sizeBytes: 100e6,
    // Who comes first reads the registry, which is in the rack of the first.
    staggerMs: 50,
    targets: [
      { what: 'two racks: bytes over the thin link, against the size', of: ({ thin }) => thin, target: 1.3 },
      {
        what: 'two racks: bytes that the registry gave, against the size',
        of: ({ upstream }) => upstream,
        target: TARGETS.upstream.figure,
      },
    ],
  },
  {
    name: 'distribute-16',
    title: '200 MB to 16 hosts at once, links of 50 Mbit/s',
    fleet: { hosts: 16, rate: 50e6, namespaces: true },
    targets: [
      {
        what: '16 hosts, 50 Mbit/s: slowest, against size ÷ link rate',
        of: ({ slowest }) => slowest,
        target: 1.2,
      },
      {
        what: '16 hosts: bytes that the registry gave, against the size',
        of: ({ upstream }) => upstream,
        target: 1.02,
      },
    ],
  },
];

/** Something fresh to a fleet of which nobody has it, each host and the registry behind a link of its own. */
export const distribute: Scenario = async ({ rounds, isQuick, onSample }) => {
  const results: Result[] = [];
  const herds = isQuick ? HERDS.filter(({ name }) => QUICK_HERDS.has(name)).map(inSmall) : HERDS;
  for (const herd of herds)
    results.push(await measure(herd, isQuick ? 0 : 1, Math.min(rounds, MAX_ROUNDS), onSample));
  const [eight, more] = results;
  if (!isQuick && eight !== undefined && more !== undefined) results[1] = withGrowth(more, eight);
  return results;
};

/** The same with fewer and less. */
function inSmall(herd: Herd): Herd {
  return {
    ...herd,
    title: `${herd.title}: ${QUICK_SIZE_BYTES / 1e6} MB to ${QUICK_HOSTS} hosts`,
    fleet: { ...herd.fleet, hosts: QUICK_HOSTS },
    sizeBytes: QUICK_SIZE_BYTES,
  };
}

/** How much longer a larger herd takes. */
function withGrowth(more: Result, fewer: Result): Result {
  const [slowest, before] = [more.claims[0]?.figure ?? Number.NaN, fewer.claims[0]?.figure ?? Number.NaN];
  return {
    ...more,
    claims: [...more.claims, atMost('growth of the slowest from 8 to 24 hosts', slowest - before, '×', 0.1)],
  };
}

async function measure(
  herd: Herd,
  warmUps: number,
  rounds: number,
  onSample: Parameters<Scenario>[0]['onSample'],
): Promise<Result> {
  await using fleet = await startFleet(herd.fleet);
  await using source = herd.isImage
    ? await imageSource(fleet)
    : blobSource(fleet, herd.sizeBytes ?? SIZE_BYTES);
  const runs: Run[] = [];
  // What comes first warms up: processes, the connections between them.
  for (let round = -warmUps; round < rounds; round += 1) {
    const run = await distributeOnce(fleet, herd, source, round + warmUps);
    if (round < 0) continue;
    runs.push(run);
    onSample(`${herd.name} (${run.slowest.toFixed(2)} ×)`, round, { wallMs: Math.max(...run.elapsedMs) });
  }
  const { hosts, rate, thinRate } = herd.fleet;
  const sizeBytes = median(runs.map((run) => run.sizeBytes));
  return {
    name: herd.name,
    title: herd.title,
    method: METHOD,
    baseline: IDEAL,
    series: [
      { name: 'slowest host', samples: runs.map(({ elapsedMs }) => ({ wallMs: Math.max(...elapsedMs) })) },
      { name: IDEAL, samples: [{ wallMs: linkMs(sizeBytes, rate) }] },
    ],
    input: { sizeBytes, hosts, rate, thinRate, staggerMs: herd.staggerMs ?? 0, runs },
    claims: herd.targets.map(({ what, of, target }) => atMost(what, median(runs.map(of)), '×', target)),
  };
}

async function distributeOnce(fleet: Fleet, herd: Herd, source: Source, round: number): Promise<Run> {
  const { image, sizeBytes } = await source.push(round);
  // What daemons write, and what containerds do.
  await warmMemory(sizeBytes * (fleet.hosts.length + 1) * (herd.isImage ? 2 : 1));
  const before = await countersOf(fleet);
  const elapsedMs = await Promise.all(
    fleet.hosts.map(async (host, index) => {
      await sleep(index * (herd.staggerMs ?? 0));
      return await timed(() => source.fetch(host, image));
    }),
  );
  const after = await countersOf(fleet);
  return {
    elapsedMs,
    sizeBytes,
    slowest: Math.max(...elapsedMs) / linkMs(sizeBytes, herd.fleet.rate),
    upstream: (after.upstream - before.upstream) / sizeBytes,
    registryWire: (after.registryWire - before.registryWire) / sizeBytes,
    thin: (after.thin - before.thin) / sizeBytes,
  };
}

/** Bytes so far: that daemons read upstream, that the registry put on its link, that went over the link between racks. */
async function countersOf(fleet: Fleet) {
  const { registryPlace, network } = fleet;
  return {
    upstream: await upstreamBytesOf(fleet),
    registryWire: (await registryPlace?.sentBytes()) ?? 0,
    thin: (await network?.thinBytes()) ?? 0,
  };
}
