import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '@drakkar/protocol';
import { type Fleet, type FleetHost, startFleet } from '../fleet/fleet.ts';
import { isRight } from '../fleet/right.ts';
import { untilJoined } from '../fleet/until.ts';
import { type Patient, type Vital, type Vitals, watchVitals } from '../fleet/vitals.ts';
import { chance, pick, zipf } from '../runner/chance.ts';
import { SMALL_COMMAND, type SmallImage, smallImage, wrongFileIn } from '../runner/fresh-layers.ts';
import { pushLayers } from '../runner/images.ts';
import { atMost, type Claim } from '../runner/results.ts';
import type { Sample } from '../runner/samples.ts';
import { lateGrowth } from '../runner/trend.ts';
import type { Scenario } from '../scenario.ts';

const MEBIBYTE = 1024 ** 2;
const HOSTS = 4;
/** The others’ daemons are ended and begun again. */
const STEADY = 2;
const FULL = {
  forMs: 30 * 60_000,
  everyMs: 10_000,
  freshEveryMs: 15_000,
  images: 12,
  layers: 3,
  layerBytes: 2 * MEBIBYTE,
  quotaBytes: 192 * MEBIBYTE,
};
const QUICK: typeof FULL = {
  forMs: 9_000,
  everyMs: 1_000,
  freshEveryMs: 3_000,
  images: 6,
  layers: 3,
  layerBytes: 256 * 1024,
  // A build takes room for 64 MiB before it begins.
  quotaBytes: 80 * MEBIBYTE,
};
const PAUSE_MS = 300;
const MOST_MOUNTED = 4;
/** Characters of what a daemon has said, where something failed there. */
const LAST_WORDS = 4_000;
/** Of the median, over the second half. */
const MOST_GROWTH_PERCENT = 5;
const VITALS: readonly Vital[] = ['memory', 'fds', 'threads', 'disk'];

/** What a host does next, and how often. */
const SHARES = { pull: 0.5, start: 0.35, remove: 0.1, restart: 0.05 } as const;
type Deed = keyof typeof SHARES;

const METHOD = [
  'Each of four hosts does one thing after another: it pulls an image and hashes what is on its disk, starts one and compares all of its files, or takes a snapshot away; when more than four are mounted, all are unmounted. Two of them end their daemons now and then, half of the times by SIGKILL, and begin them again.',
  'Which image, by Zipf’s law: the newest is wanted most. New ones are pushed all the time, and stores hold much less than all of them.',
  'Of a daemon that is never ended, of its native helper and of the supernode memory, open files and threads are looked at, with those of all processes that they have begun, and the disk that they use. What grows is the slope after Theil and Sen over the second half, times its length, against the median there.',
].join(' ');

interface Failure {
  readonly deed: Deed;
  readonly host: number;
  readonly message: string;
  /** The last that its daemon has said. */
  readonly words: string;
}

/** Ends it all at once: what failed may be tried again. */
class WrongBytes extends Error {
  override readonly name = 'WrongBytes';
}

interface SoakImage extends SmallImage {
  readonly reference: string;
}

/** Half an hour of everything: nothing may grow or fail. @throws where a byte is wrong */
export const soak: Scenario = async ({ isQuick, onSample }) => {
  const input = isQuick ? QUICK : FULL;
  await using fleet = await startFleet({
    hosts: HOSTS,
    volumes: true,
    daemon: () => ({ store: { quotaBytes: input.quotaBytes } }),
  });
  await untilJoined(fleet);
  const images: SoakImage[] = [];
  for (let index = 0; index < input.images; index += 1) images.push(await pushImage(fleet, input, index));
  const ending = new AbortController();
  const watching = watchVitals(patientsOf(fleet), input.everyMs, ending.signal);
  // What it throws is looked at in the end.
  watching.catch(() => {});
  const samples: Record<Deed, Sample[]> = { pull: [], start: [], remove: [], restart: [] };
  const failures: Failure[] = [];
  const endMs = performance.now() + input.forMs;
  const working = fleet.hosts.map(async (host, index) => {
    const random = chance(`soak ${index}`);
    const shares = zipf(input.images);
    while (performance.now() < endMs) {
      const deed = nextDeed(random(), index >= STEADY);
      const image = images[pick(shares, random())];
      if (image === undefined) throw new RangeError('there is no such image');
      const startedMs = performance.now();
      try {
        await DEEDS[deed](host, image, random);
      } catch (error) {
        if (error instanceof WrongBytes) throw error;
        failures.push({
          deed,
          host: index,
          message: error instanceof Error ? error.message : String(error),
          words: host.output().slice(-LAST_WORDS),
        });
        // Not as often as it can: what is away may be back by then.
        await sleep(PAUSE_MS);
        continue;
      }
      const sample = { wallMs: performance.now() - startedMs };
      samples[deed].push(sample);
      if (deed === 'restart') onSample(`restart of host ${index}`, samples.restart.length - 1, sample);
      await sleep(random() * 2 * PAUSE_MS);
    }
  });
  const renewing = (async () => {
    for (let index = input.images; performance.now() + input.freshEveryMs < endMs; index += 1) {
      await sleep(input.freshEveryMs);
      images.unshift(await pushImage(fleet, input, index));
      images.pop();
    }
  })();
  let vitals: Vitals[];
  try {
    await Promise.all([...working, renewing]);
  } finally {
    ending.abort();
    vitals = await watching;
  }
  return [
    {
      name: 'soak',
      title: `Mixed load with churn for ${input.forMs / 60_000} minutes`,
      method: METHOD,
      series: [
        { name: 'drakkar, pull', samples: samples.pull },
        { name: 'drakkar, start', samples: samples.start },
        { name: 'drakkar, removal', samples: samples.remove },
      ],
      input: { hosts: HOSTS, ...input, restarts: samples.restart.length, shares: SHARES, failures, vitals },
      claims: [
        ...(Object.keys(SHARES) as Deed[]).map((deed) => {
          const failed = failures.filter((failure) => failure.deed === deed).length;
          const share = failed / Math.max(1, failed + samples[deed].length);
          return atMost(`soak: of all that hosts did, ${deed}, what failed`, 100 * share, '%', 0);
        }),
        // Within seconds everything grows.
        ...(isQuick ? [] : vitals.flatMap(claimsOf)),
      ],
    },
  ];
};

function patientsOf({ hosts: [first], supernode }: Fleet): Patient[] {
  if (first === undefined) throw new Error('a fleet without hosts');
  return [
    { name: 'daemon', pid: () => first.pid, directory: first.stateDirectory },
    { name: 'native helper', pid: () => first.helperPid ?? 0 },
    { name: 'supernode', pid: () => supernode.pid, directory: supernode.stateDirectory },
  ];
}

function claimsOf({ name, readings }: Vitals): Claim[] {
  return VITALS.filter((vital) => readings[vital].length > 0).map((vital) =>
    atMost(
      `soak: ${name}, ${vital} grown over the second half`,
      100 * lateGrowth(readings[vital]),
      '%',
      MOST_GROWTH_PERCENT,
    ),
  );
}

async function pushImage({ registry }: Fleet, input: typeof FULL, index: number): Promise<SoakImage> {
  const image = smallImage(input.layers, input.layerBytes);
  const options = { repository: `bench/soak-${index}`, tag: 'latest', command: SMALL_COMMAND };
  return { ...image, ...(await pushLayers(registry, image.layers, options)), layers: image.layers };
}

function nextDeed(number: number, mayRestart: boolean): Deed {
  const deeds = Object.keys(SHARES) as Deed[];
  const deed = deeds[pick(Object.values(SHARES), number)] ?? 'pull';
  return deed === 'restart' && !mayRestart ? 'pull' : deed;
}

/** @throws `WrongBytes` */
const DEEDS: Readonly<
  Record<Deed, (host: FleetHost, image: SoakImage, random: () => number) => Promise<void>>
> = {
  async pull({ client, stateDirectory }, { reference, layers }) {
    await client.pull({ image: reference });
    for (const { digest } of layers) {
      // Others may need the room meanwhile.
      const right = await isRight(stateDirectory, digest).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return true;
        throw error;
      });
      if (!right) throw new WrongBytes(`${digest} is something else`);
    }
  },
  async start({ client }, { reference, files }) {
    const { id, rootfs } = await client.start({ image: reference });
    try {
      const wrong = await wrongFileIn(rootfs, files);
      if (wrong !== undefined) throw new WrongBytes(`${wrong} is something else`);
    } finally {
      await client.endStart(id);
    }
    await unmountMany(client);
  },
  async remove({ client }, _, random) {
    const snapshots = await client.snapshots();
    const chosen = snapshots[Math.floor(random() * snapshots.length)];
    if (chosen === undefined) return;
    if (chosen.path !== null) await client.umountSnapshot(chosen.manifestDigest);
    await client.removeSnapshot(chosen.manifestDigest);
  },
  async restart(host, _, random) {
    await host.kill(random() < 0.5 ? 'SIGKILL' : 'SIGTERM');
    await host.start();
  },
};

/** What is mounted keeps its room: as a node does, takes away mounts that nobody uses when there are many. */
async function unmountMany(client: FleetHost['client']): Promise<void> {
  const mounted = (await client.snapshots()).filter(({ path }) => path !== null);
  if (mounted.length <= MOST_MOUNTED) return;
  for (const { manifestDigest } of mounted) await client.umountSnapshot(manifestDigest);
}
