import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PullResult } from '@drakkar/client';
import { imageOf, layerOf, pushImage } from '@drakkar/lab';
import { type Fleet, type FleetOptions, startFleet } from '../fleet/fleet.ts';
import { atMost, type Claim, type Result } from '../runner/results.ts';
import { median } from '../runner/samples.ts';
import { warmMemory } from '../runner/warm-memory.ts';
import type { Scenario } from '../scenario.ts';

const SIZE_BYTES = 200e6;
/** Runs that are longer than others are repeated less. */
const MAX_ROUNDS = 5;

interface Herd {
  readonly name: string;
  readonly title: string;
  readonly fleet: FleetOptions & { readonly rate: number };
  readonly sizeBytes?: number;
  /** From one host's start to the next. */
  readonly staggerMs?: number;
  claims(runs: readonly Run[]): Claim[];
}

/** One distribution of a fresh blob to all hosts. */
interface Run {
  /** Of each host, from its own start. */
  readonly elapsedMs: readonly number[];
  /** The slowest, against the size over the rate of a link. */
  readonly slowest: number;
  /** What the registry gave, and what it put on its link, against the size. */
  readonly upstream: number;
  readonly registryWire: number;
  /** Over the link between the racks, against the size. */
  readonly thin: number;
}

const middle = (runs: readonly Run[], figure: (run: Run) => number) => median(runs.map(figure));

const HERDS: readonly Herd[] = [
  {
    name: 'distribute-8',
    title: '200 MB to 8 hosts at once, links of 100 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, namespaces: true },
    claims: (runs) => [
      atMost(
        '8 hosts, 100 Mbit/s: slowest, against size ÷ link rate',
        middle(runs, ({ slowest }) => slowest),
        '×',
        1.15,
      ),
      atMost(
        '8 hosts: bytes that the registry gave, against the size',
        middle(runs, ({ upstream }) => upstream),
        '×',
        1.02,
      ),
    ],
  },
  {
    name: 'distribute-24',
    title: '200 MB to 24 hosts at once, links of 30 Mbit/s',
    fleet: { hosts: 24, rate: 30e6, namespaces: true },
    claims: (runs) => [
      atMost(
        '24 hosts, 30 Mbit/s: slowest, against size ÷ link rate',
        middle(runs, ({ slowest }) => slowest),
        '×',
        1.25,
      ),
      atMost(
        '24 hosts: bytes that the registry gave, against the size',
        middle(runs, ({ upstream }) => upstream),
        '×',
        1.02,
      ),
    ],
  },
  {
    name: 'distribute-staggered',
    title: '200 MB to 8 hosts, one a second, links of 100 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, namespaces: true },
    staggerMs: 1000,
    claims: (runs) => [
      atMost(
        '8 hosts, one a second: slowest, against size ÷ link rate',
        middle(runs, ({ slowest }) => slowest),
        '×',
        1.15,
      ),
      atMost(
        'staggered: bytes that the registry gave, against the size',
        middle(runs, ({ upstream }) => upstream),
        '×',
        1.02,
      ),
    ],
  },
  {
    name: 'distribute-racks',
    title: '100 MB to two racks of 4 hosts, 100 Mbit/s, joined by 30 Mbit/s',
    fleet: { hosts: 8, rate: 100e6, thinRate: 30e6, namespaces: true },
    sizeBytes: 100e6,
    claims: (runs) => [
      atMost(
        'two racks: bytes over the thin link, against the size',
        middle(runs, ({ thin }) => thin),
        '×',
        1.3,
      ),
      atMost(
        'two racks: bytes that the registry gave, against the size',
        middle(runs, ({ upstream }) => upstream),
        '×',
        1.02,
      ),
    ],
  },
];

/** A fresh blob to a fleet of which nobody has it, each host and the registry behind a link of its own. */
export const distribute: Scenario = async ({ rounds, onSample }) => {
  const results: Result[] = [];
  for (const herd of HERDS) results.push(await measure(herd, Math.min(rounds, MAX_ROUNDS), onSample));
  return results;
};

async function measure(
  herd: Herd,
  rounds: number,
  onSample: Parameters<Scenario>[0]['onSample'],
): Promise<Result> {
  await using fleet = await startFleet(herd.fleet);
  const runs: Run[] = [];
  // The first warms up: processes, connections, the memory of the machine.
  for (let round = -1; round < rounds; round += 1) {
    const run = await distributeOnce(fleet, herd, round + 1);
    if (round < 0) continue;
    runs.push(run);
    onSample(`${herd.name} (${run.slowest.toFixed(2)} ×)`, round, { wallMs: Math.max(...run.elapsedMs) });
  }
  const { hosts, rate, thinRate } = herd.fleet;
  return {
    name: herd.name,
    title: herd.title,
    series: [
      { name: 'slowest host', samples: runs.map(({ elapsedMs }) => ({ wallMs: Math.max(...elapsedMs) })) },
      { name: 'size ÷ link rate', samples: [{ wallMs: idealMs(herd) }] },
    ],
    input: {
      sizeBytes: herd.sizeBytes ?? SIZE_BYTES,
      hosts,
      rate,
      thinRate,
      staggerMs: herd.staggerMs ?? 0,
      runs,
    },
    claims: herd.claims(runs),
  };
}

const idealMs = ({ sizeBytes = SIZE_BYTES, fleet }: Herd) => (sizeBytes * 8 * 1000) / fleet.rate;

async function distributeOnce(fleet: Fleet, herd: Herd, round: number): Promise<Run> {
  const sizeBytes = herd.sizeBytes ?? SIZE_BYTES;
  const layer = layerOf(randomBytes(sizeBytes), { compression: 'none' });
  const repository = `bench/distribute-${round}`;
  await pushImage(fleet.registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
  await warmMemory(sizeBytes * (fleet.hosts.length + 1));
  const sentBefore = (await fleet.registryPlace?.sentBytes()) ?? 0;
  const thinBefore = await thinBytes(fleet);
  const results = await Promise.all(
    fleet.hosts.map(async (host, index) => {
      await sleep(index * (herd.staggerMs ?? 0));
      const startedMs = performance.now();
      const result: PullResult = await host.client.pull({
        image: `${fleet.registry.host}/${repository}:latest`,
      });
      return { result, elapsedMs: performance.now() - startedMs };
    }),
  );
  const elapsedMs = results.map((each) => each.elapsedMs);
  const upstreamBytes = results.reduce((sum, { result }) => sum + result.receipt.upstreamBytes, 0);
  return {
    elapsedMs,
    slowest: Math.max(...elapsedMs) / idealMs(herd),
    upstream: upstreamBytes / sizeBytes,
    registryWire: (((await fleet.registryPlace?.sentBytes()) ?? 0) - sentBefore) / sizeBytes,
    thin: ((await thinBytes(fleet)) - thinBefore) / sizeBytes,
  };
}

async function thinBytes({ network }: Fleet): Promise<number> {
  return (await network?.thinBytes()) ?? 0;
}
