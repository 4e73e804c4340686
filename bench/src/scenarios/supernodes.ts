import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, ownerOf, parseSupernodeAddress } from '@drakkar/protocol';
import { type Fleet, startFleet } from '../fleet/fleet.ts';
import { upstreamBytesOf } from '../fleet/moved.ts';
import { linkMs } from '../fleet/network.ts';
import { blobSource, type Source } from '../fleet/source.ts';
import type { FleetSupernode } from '../fleet/supernodes.ts';
import { atMost, type Result } from '../runner/results.ts';
import { median } from '../runner/samples.ts';
import { warmMemory } from '../runner/warm-memory.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const FULL: Size = { hosts: 8, sizeBytes: 200e6 };
const QUICK: Size = { hosts: 4, sizeBytes: 20e6 };
const RATE = 100e6;
const POLL_MS = 50;
const DEADLINE_MS = 3 * 60_000;
const MAX_ROUNDS = 5;

const METHOD = [
  'Two supernodes over one Redis. A fresh blob goes to all hosts, in turns undisturbed and with the supernode that the blob is asked of killed by SIGKILL',
  'at a random moment of the middle half; it is begun again after the run. Then, with nothing under way, one of the two at a time is taken from the network without a word, and put back.',
  'How long it takes until all hosts ask the other one is by polling every host.',
].join(' ');

interface Size {
  readonly hosts: number;
  readonly sizeBytes: number;
}

const idealMsOf = ({ sizeBytes }: Size) => linkMs(sizeBytes, RATE);

interface Run {
  readonly elapsedMs: readonly number[];
  /** What the registry gave, against the size. */
  readonly upstream: number;
  /** From the kill until every host asks the other; absent where nobody was killed. */
  readonly movedMs?: number;
}

/** A distribution that loses its supernode, against one that does not. */
export const supernodes: Scenario = async ({ rounds, isQuick, onSample }) => {
  const size = isQuick ? QUICK : FULL;
  const { hosts, sizeBytes } = size;
  await using fleet = await startFleet({ hosts, rate: RATE, namespaces: true, supernodes: 2 });
  await using source = blobSource(fleet, sizeBytes);
  await settle(fleet, 2);
  const runs: { readonly undisturbed: Run[]; readonly killed: Run[] } = { undisturbed: [], killed: [] };
  // The first warms up: processes, the connections between them.
  await distributeOnce(fleet, size, source, 0, false);
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1) {
    for (const which of ['undisturbed', 'killed'] as const) {
      const run = await distributeOnce(fleet, size, source, `${round}-${which}`, which === 'killed');
      runs[which].push(run);
      onSample(which, round, { wallMs: Math.max(...run.elapsedMs) });
    }
  }
  const silentMs: number[] = [];
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1)
    silentMs.push(await silenceOnce(fleet, fleet.supernodes[round % 2]));
  const slowest = (all: readonly Run[]) => all.map(({ elapsedMs }) => ({ wallMs: Math.max(...elapsedMs) }));
  const ratio =
    median(slowest(runs.killed).map(({ wallMs }) => wallMs)) /
    median(slowest(runs.undisturbed).map(({ wallMs }) => wallMs));
  const moved = runs.killed.map(({ movedMs }) => movedMs ?? Number.NaN);
  const result: Result = {
    name: 'supernodes',
    title: `${sizeBytes / 1e6} MB to ${hosts} hosts at once, links of 100 Mbit/s, two supernodes`,
    method: METHOD,
    series: [
      { name: 'slowest host, undisturbed', samples: slowest(runs.undisturbed) },
      { name: 'slowest host, its supernode killed', samples: slowest(runs.killed) },
      { name: 'size ÷ link rate', samples: [{ wallMs: idealMsOf(size) }] },
    ],
    input: { sizeBytes, hosts, rate: RATE, runs, silentMs },
    claims: [
      atMost('supernode killed: slowest host, against undisturbed', ratio, '×', 1.1),
      atMost(
        'supernode killed: bytes that the registry gave, against the size',
        median(runs.killed.map(({ upstream }) => upstream)),
        '×',
        TARGETS.upstream.figure,
      ),
      atMost('supernode killed: until all hosts ask another, the longest', Math.max(...moved), 'ms', 5_000),
      atMost(
        'supernode silent: until all hosts ask another, the longest',
        Math.max(...silentMs),
        'ms',
        5_000,
      ),
    ],
  };
  return [result];
};

async function distributeOnce(
  fleet: Fleet,
  size: Size,
  source: Source,
  round: number | string,
  isKilled: boolean,
): Promise<Run> {
  const { image, layers } = await source.push(round);
  const [digest] = layers;
  if (digest === undefined) throw new Error('an image without layers');
  await warmMemory(size.sizeBytes * (size.hosts + 1));
  const victim = isKilled ? await ownerIn(fleet, digest) : undefined;
  const before = await upstreamBytesOf(fleet);
  const killing = victim && killIn(fleet, size, victim);
  const elapsedMs = await Promise.all(
    fleet.hosts.map(async (host) => {
      const startedMs = performance.now();
      await source.fetch(host, image);
      return performance.now() - startedMs;
    }),
  );
  const upstream = ((await upstreamBytesOf(fleet)) - before) / size.sizeBytes;
  const movedMs = await killing;
  if (victim !== undefined) {
    await victim.start();
    await settle(fleet, 2);
  }
  return { elapsedMs, upstream, ...(movedMs === undefined ? {} : { movedMs }) };
}

/** @returns how long it took until all hosts asked the other one */
async function killIn(fleet: Fleet, size: Size, victim: FleetSupernode): Promise<number> {
  await sleep(idealMsOf(size) * (0.25 + randomInt(500) / 1_000));
  await victim.kill();
  const killedMs = performance.now();
  await settle(fleet, 1);
  return performance.now() - killedMs;
}

/** Nothing that it sends arrives, nor that it lives no more. */
async function silenceOnce(fleet: Fleet, victim: FleetSupernode | undefined): Promise<number> {
  // At any moment between two of its leases.
  await sleep(randomInt(1_000));
  await victim?.place?.plug(false);
  const silentMs = performance.now();
  await settle(fleet, 1);
  const movedMs = performance.now() - silentMs;
  await victim?.place?.plug(true);
  await settle(fleet, 2);
  return movedMs;
}

/** The supernode that hosts ask about a blob. */
async function ownerIn({ supernodes: all }: Fleet, digest: Digest) {
  const [{ client }] = all as [FleetSupernode];
  const standing = (await client.status()).supernodes.map(({ address }) => parseSupernodeAddress(address));
  const peers = standing.map(({ peer }) => peer);
  const owner = ownerOf(digest, peers);
  const { at } = standing.find(({ peer }) => peer === owner) ?? {};
  const found = all.find(({ place }) => place?.address === at?.host);
  if (found === undefined) throw new Error('a blob that is nobody’s');
  return found;
}

/** Until every host asks so many supernodes. @throws where that does not come to be */
async function settle({ hosts }: Fleet, count: number): Promise<void> {
  const asked = async ({ client }: (typeof hosts)[number]) =>
    (await client.status()).swarm?.supernodes.filter(({ up, serving }) => up && serving).length;
  const endMs = performance.now() + DEADLINE_MS;
  while (!(await Promise.all(hosts.map(asked))).every((each) => each === count)) {
    if (performance.now() > endMs) throw new Error(`not every host asks ${count} supernodes`);
    await sleep(POLL_MS);
  }
}
