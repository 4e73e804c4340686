import { type Containerd, startContainerd } from '@drakkar/lab';
import type { FleetHost } from '../fleet/fleet.ts';
import { countedStart, movedTo, placeOf } from '../fleet/moved.ts';
import type { Place } from '../fleet/network.ts';
import {
  emptyHost,
  expectGiven,
  type SeededFleet,
  seedSnapshot,
  startSeededFleet,
  untilComplete,
  untilRearranged,
} from '../fleet/seeded.ts';
import { LAZY_BACKENDS, type LazyBackend } from '../runner/backends.ts';
import { dropCaches, programFiles } from '../runner/caches.ts';
import { ctrRun } from '../runner/containerd.ts';
import { firstOutput } from '../runner/first-output.ts';
import { type BenchImage, pushDebian } from '../runner/images.ts';
import { atLeast, atMost, type Claim, type Result } from '../runner/results.ts';
import { type Contender, medianOf, type Series, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

interface Link {
  readonly name: string;
  readonly title: string;
  /** Bits per second. */
  readonly rate: number;
  /** How long a packet may wait for the link, where it is not what other fleets have. */
  readonly queueMs?: number;
  /** So many of the subjects, where not all. */
  readonly subjects?: number;
  /** What takes longer is repeated less. */
  readonly maxRounds: number;
  /** How many times less time beyond its own warm start than containerd a cold start takes. */
  readonly beyondTarget: number;
}

interface Subject {
  readonly name: string;
  readonly packages: readonly string[];
  readonly command: readonly string[];
}

const LINKS: readonly Link[] = [
  { name: '1g', title: '1 Gbit/s', rate: 1e9, maxRounds: 3, beyondTarget: TARGETS.coldBeyondWarm.figure },
  { name: '100m', title: '100 Mbit/s', rate: 100e6, maxRounds: 2, beyondTarget: 8 },
  {
    name: '100m-20ms',
    title: '100 Mbit/s with queues of 20 ms',
    rate: 100e6,
    queueMs: 20,
    subjects: 1,
    maxRounds: 2,
    beyondTarget: 8,
  },
];

const SUBJECTS: readonly Subject[] = [
  {
    name: 'python',
    packages: ['python3', 'python3-numpy'],
    command: ['python3', '-c', 'import numpy; print(numpy.arange(9).sum(), flush=True)'],
  },
  { name: 'node', packages: ['nodejs'], command: ['node', '-e', 'console.log("ready")'] },
  { name: 'jvm', packages: ['default-jre-headless'], command: ['java', '--version'] },
];

const QUICK_SUBJECTS: typeof SUBJECTS = [
  { name: 'python', packages: ['python3'], command: ['python3', '-c', 'print("ready", flush=True)'] },
];

/** A cold start against its warm one, by whether it is known what starts of the image read. */
const COLD_TARGETS = { 'first ever': 2, cold: 1.4 } as const;

const CONTAINERD = 'containerd';
const PROGRAMS = ['runc', 'ctr', 'containerd', 'containerd-shim-runc-v2'];
/** At a link of 1 Gbit/s. */
const COLD_TARGET_MS: Readonly<Record<string, number>> = {
  python: TARGETS.coldStart.figure,
  node: TARGETS.coldStart.figure,
};
const MOVED_TARGET_PERCENT = 25;
const MEBIBYTE = 1024 ** 2;

const METHOD = [
  'A registry, a supernode, a seed that has made the image’s snapshot, and clients, one a backend, are in network namespaces, each but the supernode behind a link of that rate, both ways.',
  'First ever: the client’s daemon runs, no client has anything of the image, nobody has ever started it, and `drakkar run` starts it.',
  'Cold: the same once more, on the client that was emptied, when the cluster has learned what the start reads, and the seed has laid the snapshot out so.',
  'Warm: once more when all of the volume is here; “warm, disk” the same with all caches dropped.',
  'Then containerd through the same link from the same registry: `ctr images pull` with overlayfs and `ctr run`; `ctr run` once more; and once more with all caches dropped.',
  'Before each start but the warm ones all caches are dropped, and what other machines and running programs have in memory is read again: the registry, the seed’s store, the programs.',
  'One turn of all, which is not counted, warms up daemons and containerd. No container has a network.',
  'What has come is counted at the first output, on the client’s link and by its daemon.',
].join(' ');

/** From nothing to the first output of a container, over links of given rates, against containerd. */
export const coldStart: Scenario = async ({ rounds, isQuick, onSample }) => {
  const results: Result[] = [];
  const backends = isQuick ? LAZY_BACKENDS.slice(0, 1) : LAZY_BACKENDS;
  for (const link of isQuick ? LINKS.slice(0, 1) : LINKS) {
    await using seeded = await startSeededFleet({
      rate: link.rate,
      ...(link.queueMs === undefined ? {} : { queueMs: link.queueMs }),
      namespaces: true,
      seed: { snapshots: { rearrangeDelayMs: 0 } },
      clients: backends.map(({ name }) => ({ native: { backend: name } })),
    });
    await using containerd = await startContainerd({ within: placeOf(seeded.clients[0]).within });
    const subjects = isQuick ? QUICK_SUBJECTS : SUBJECTS.slice(0, link.subjects);
    for (const [index, subject] of subjects.entries()) {
      const image = await pushDebian(seeded.fleet.registry, subject.packages, subject.command);
      const { rawSizeBytes, blobSizeBytes } = await seedSnapshot(seeded, image.reference);
      const contenders = await contendersOf(seeded, backends, containerd, subject, image);
      if (index === 0 && !isQuick) await warmUp(contenders);
      const series = await takeSamples(contenders, Math.min(rounds, link.maxRounds), onSample);
      results.push({
        name: `cold-start-${link.name}-${subject.name}`,
        title: `Cold start over ${link.title}: ${subject.packages.join(', ')}, ${Math.round(image.sizeBytes / MEBIBYTE)} MiB compressed`,
        method: METHOD,
        series,
        input: {
          ...image,
          rawSizeBytes,
          blobSizeBytes,
          rate: link.rate,
          queueMs: link.queueMs,
          command: subject.command,
        },
        claims: backends.flatMap(({ name }) => claimsOf(`drakkar, ${name}`, link, subject, image, series)),
      });
    }
  }
  return results;
};

async function contendersOf(
  seeded: SeededFleet,
  backends: readonly LazyBackend[],
  containerd: Containerd,
  { name, packages, command }: Subject,
  image: BenchImage,
): Promise<Contender[]> {
  const { fleet, seed, clients } = seeded;
  const programs = await programFiles(PROGRAMS);
  const settle = () => dropCaches([...programs, fleet.registry.directory, seed.stateDirectory]);
  const empty = async () => {
    for (const client of clients) await emptyHost(client);
    await settle();
  };
  let images = 0;
  const makeImage = async () => {
    images += 1;
    const { reference } = await pushDebian(fleet.registry, packages, command, `${name}-${images}`);
    await seedSnapshot(seeded, reference);
    return reference;
  };
  return [
    ...backends.flatMap((backend, index) => {
      const host = clients[index];
      return host === undefined
        ? []
        : drakkarContenders(`drakkar, ${backend.name}`, host, {
            makeImage,
            untilLaidOut: (image) => untilRearranged(seeded, image),
            settle,
            empty,
          });
    }),
    ...containerdContenders(containerd, placeOf(clients[0]), image, settle),
  ];
}

interface Circumstances {
  /** An image that nobody has ever started, of which the seed has the snapshot. */
  makeImage(): Promise<string>;
  /** What its start reads has been learned, and is laid out so. */
  untilLaidOut(image: string): Promise<void>;
  /** Drops all caches. */
  settle(): Promise<void>;
  /** Takes everything from all clients as well. */
  empty(): Promise<void>;
}

function drakkarContenders(
  name: string,
  host: FleetHost,
  { makeImage, untilLaidOut, settle, empty }: Circumstances,
): Contender[] {
  let image = '';
  const start = (atOutput?: () => Promise<void>) =>
    firstOutput(host.command(['run', '--net', 'none', image]), atOutput);
  const coldStart = async () => {
    await empty();
    const sample = await countedStart(() => movedTo(host), start);
    await expectGiven(host);
    return sample;
  };
  return [
    {
      name: `${name}, first ever`,
      async measure() {
        image = await makeImage();
        return await coldStart();
      },
    },
    {
      name: `${name}, cold`,
      async measure() {
        await untilLaidOut(image);
        return await coldStart();
      },
    },
    {
      name: `${name}, warm`,
      async measure() {
        await untilComplete(host);
        return { wallMs: await start() };
      },
    },
    {
      name: `${name}, warm, disk`,
      async measure() {
        await settle();
        return { wallMs: await start() };
      },
    },
  ];
}

function containerdContenders(
  containerd: Containerd,
  place: Place,
  { reference }: BenchImage,
  settle: () => Promise<void>,
): Contender[] {
  const start = (atOutput?: () => Promise<void>) => firstOutput(ctrRun(containerd, reference), atOutput);
  const counters = async () => ({ linkBytes: await place.receivedBytes() });
  return [
    {
      name: `${CONTAINERD}, cold`,
      async measure() {
        // Nothing is said where it has none.
        await containerd.ctr(['images', 'rm', '--sync', reference]);
        await settle();
        return await countedStart(counters, async (atOutput) => {
          const startedMs = performance.now();
          await containerd.pull(reference);
          const pulledMs = performance.now() - startedMs;
          return pulledMs + (await start(atOutput));
        });
      },
    },
    { name: `${CONTAINERD}, warm`, measure: async () => ({ wallMs: await start() }) },
    {
      name: `${CONTAINERD}, warm, disk`,
      async measure() {
        await settle();
        return { wallMs: await start() };
      },
    },
  ];
}

async function warmUp(contenders: readonly Contender[]): Promise<void> {
  for (const { name, measure } of contenders) {
    process.stderr.write(`warming up: ${name}\n`);
    await measure(0);
  }
}

function claimsOf(
  name: string,
  link: Link,
  subject: Subject,
  image: BenchImage,
  series: readonly Series[],
): Claim[] {
  const wall = (which: string) => medianOf(series, which, ({ wallMs }) => wallMs);
  const beyond = (who: string) => wall(`${who}, cold`) - wall(`${who}, warm`);
  const linkBytes = medianOf(series, `${name}, cold`, ({ moved }) => moved?.linkBytes);
  const about = `${subject.name}, ${link.title}, ${name}`;
  const coldMs = COLD_TARGET_MS[subject.name];
  const isFast = link.name === '1g';
  return [
    ...(isFast && coldMs !== undefined
      ? [atMost(`${about}: cold start`, wall(`${name}, cold`), 'ms', coldMs)]
      : []),
    ...(isFast
      ? Object.entries(COLD_TARGETS).map(([which, target]) =>
          atMost(
            `${about}: ${which}, against warm`,
            wall(`${name}, ${which}`) / wall(`${name}, warm`),
            '×',
            target,
          ),
        )
      : []),
    atLeast(
      `${about}: time beyond the warm start, containerd’s against ours`,
      beyond(CONTAINERD) / beyond(name),
      '×',
      link.beyondTarget,
    ),
    atMost(
      `${about}: moved until the first output, of the compressed image`,
      (100 * linkBytes) / image.sizeBytes,
      '%',
      MOVED_TARGET_PERCENT,
    ),
  ];
}
