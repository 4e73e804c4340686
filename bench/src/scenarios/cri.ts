import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { firstOutputOf, type Pod } from '@drakkar/lab';
import type { FleetHost } from '../fleet/fleet.ts';
import { type PodHost, snapshotterSocketOf, startPodHost } from '../fleet/pods.ts';
import {
  emptyHost,
  expectGiven,
  type SeededFleet,
  seedSnapshot,
  startSeededFleet,
  untilRearranged,
} from '../fleet/seeded.ts';
import { dropCaches, programFiles } from '../runner/caches.ts';
import { pushDebian } from '../runner/images.ts';
import { OWN_FILE, pushRelated, SHARED_PACKAGES } from '../runner/related-images.ts';
import { atLeast, atMost, type Result } from '../runner/results.ts';
import { type Contender, medianOf, ratio, takeSamples } from '../runner/samples.ts';
import type { Scenario, ScenarioOptions } from '../scenario.ts';

const RATE = 1e9;
const SUBJECT = {
  packages: ['python3', 'python3-numpy'],
  command: ['python3', '-c', 'import numpy; print(numpy.arange(9).sum(), flush=True)'],
} as const;
const QUICK_SUBJECT = {
  packages: ['python3'],
  command: ['python3', '-c', 'print("ready", flush=True)'],
} as const;
const PROGRAMS = ['runc', 'ctr', 'containerd', 'containerd-shim-runc-v2'];
const START_TARGET_MS = 1000;
const FASTER_TARGET = 8;

const FULL: CrowdSize = { images: 8, containers: 200 };
const QUICK: CrowdSize = { images: 2, containers: 8 };
const MAX_ROUNDS = 3;
const CROWD_TARGET = 1.3;
const LOOK_MS = 20;
/** After the last has been started: it prints a file. */
const CROWD_MS = 60_000;

const OVERLAYFS = 'overlayfs';
const FIRST_EVER = 'drakkar, first ever';
const COLD = 'drakkar, cold';

const START_METHOD = [
  'A registry, a supernode, a seed that has made the image’s snapshot, and a host are in network namespaces, each but the supernode behind a link of 1 Gbit/s, both ways.',
  'The host has two containerds, one as it is and one configured by `drakkar configure containerd`, which are asked over the runtime interface as a kubelet does it: RunPodSandbox, PullImage, CreateContainer, StartContainer.',
  'Counted is what passes from the sandbox, which takes the same time on both, until the first output is in the container’s log. The host has nothing of the image.',
  'First ever: nobody has ever started it. Cold: the cluster has learned what the start reads, and the seed has laid the snapshot out so.',
  'All caches are dropped before, but those of running programs, the registry and the seed.',
].join(' ');

const CROWD_METHOD = [
  'In pods, one an image, which are there before, all containers are created and started at once, and print a file; counted is the time until all have ended.',
  'The images have the layers of Debian with Python in common, and a layer of 8 MiB each for itself.',
  'With overlayfs everything is pulled and unpacked before. With Drakkar the host has nothing: the time begins with the pulls. Nothing is completed in the background.',
  'What starts of the images read the cluster knows from the second round on. All caches are dropped before, but those of running programs, the registry and the seed.',
].join(' ');

/** Pods through the runtime interface of a stock containerd. */
export const cri: Scenario = async (options) => [await starts(options), await crowd(options)];

interface CrowdSize {
  readonly images: number;
  readonly containers: number;
}

/** A fleet whose client has a containerd of each kind. */
interface Stage extends AsyncDisposable {
  readonly seeded: SeededFleet;
  readonly host: FleetHost;
  readonly overlayfs: PodHost;
  readonly drakkar: PodHost;
  /** Drops all caches. */
  settle(): Promise<void>;
}

async function setStage(settings: Readonly<Record<string, object>> = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-cri-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const containerd = { snapshotterSocket: snapshotterSocketOf(directory), buildSnapshots: false };
  const seeded = stack.use(
    await startSeededFleet({
      rate: RATE,
      namespaces: true,
      seed: { snapshots: { rearrangeDelayMs: 0 } },
      clients: [{ containerd, ...settings }],
    }),
  );
  const { fleet, seed, clients } = seeded;
  const [host] = clients;
  if (host === undefined) throw new Error('a fleet without clients');
  const overlayfs = await startPodHost(fleet, host, 'overlayfs', directory, stack);
  const drakkar = await startPodHost(fleet, host, 'drakkar', directory, stack);
  const kept = [...(await programFiles(PROGRAMS)), fleet.registry.directory, seed.stateDirectory];
  const running = stack.move();
  return {
    seeded,
    host,
    overlayfs,
    drakkar,
    settle: () => dropCaches(kept),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function starts({ rounds, isQuick, onSample }: ScenarioOptions): Promise<Result> {
  const { packages, command } = isQuick ? QUICK_SUBJECT : SUBJECT;
  await using stage = await setStage();
  const { seeded, host, overlayfs, drakkar, settle } = stage;
  let images = 0;
  let image = '';
  const makeImage = async () => {
    images += 1;
    const pushed = await pushDebian(seeded.fleet.registry, packages, command, `pod-${images}`);
    await seedSnapshot(seeded, pushed.reference);
    image = pushed.reference;
    return pushed;
  };
  const start = async (podHost: PodHost) => {
    await settle();
    const wallMs = await startPod(podHost, image);
    await podHost.forget([image]);
    return { wallMs };
  };
  const ours = async () => {
    const sample = await start(drakkar);
    await expectGiven(host);
    await emptyHost(host);
    return sample;
  };
  const input = await makeImage();
  const contenders: Contender[] = [
    { name: OVERLAYFS, measure: () => start(overlayfs) },
    {
      name: FIRST_EVER,
      async measure() {
        await makeImage();
        return await ours();
      },
    },
    {
      name: COLD,
      async measure() {
        await untilRearranged(seeded, image);
        return await ours();
      },
    },
  ];
  if (!isQuick) for (const { measure } of contenders) await measure(0);
  const series = await takeSamples(contenders, rounds, onSample);
  const wallMs = (name: string) => medianOf(series, name, (sample) => sample.wallMs);
  return {
    name: 'cri-start',
    title: `A pod over 1 Gbit/s, from its sandbox to its first output: ${packages.join(', ')}`,
    method: START_METHOD,
    series,
    input: { ...input, rate: RATE, command },
    claims: [FIRST_EVER, COLD].flatMap((name) => [
      atMost(`${name}: beyond the sandbox`, wallMs(name), 'ms', START_TARGET_MS),
      atLeast(`${name}: times faster than overlayfs`, wallMs(OVERLAYFS) / wallMs(name), '×', FASTER_TARGET),
    ]),
  };
}

let pods = 0;

/** Milliseconds from a new pod's sandbox to what its container says first. */
async function startPod({ cri: client, logDirectory }: PodHost, image: string): Promise<number> {
  pods += 1;
  const pod = await client.runPod({ name: `pod-${pods}`, logDirectory });
  const name = `container-${pods}`;
  const startedMs = performance.now();
  await client.pull(image);
  await client.startContainer(pod, { name, image });
  await firstOutputOf(pod, name);
  const wallMs = performance.now() - startedMs;
  await client.removePod(pod);
  return wallMs;
}

async function crowd({ rounds, isQuick, onSample }: ScenarioOptions): Promise<Result> {
  const size = isQuick ? QUICK : FULL;
  await using stage = await setStage({ volumes: { background: 'off' } });
  const { seeded, host, overlayfs, drakkar, settle } = stage;
  const images = (await pushRelated(seeded.fleet.registry, size.images)).map(({ reference }) => reference);
  for (const image of images) await seedSnapshot(seeded, image);
  const pull = async (podHost: PodHost) => {
    await Promise.all(images.map((image) => podHost.cri.pull(image)));
  };
  await pull(overlayfs);
  const contenders: Contender[] = [
    {
      name: 'overlayfs, unpacked',
      async measure() {
        await settle();
        return { wallMs: await startCrowd(overlayfs, size, images, async () => {}) };
      },
    },
    {
      name: COLD,
      async measure() {
        await settle();
        const wallMs = await startCrowd(drakkar, size, images, () => pull(drakkar));
        await expectGiven(host);
        await drakkar.forget(images);
        await emptyHost(host);
        return { wallMs };
      },
    },
  ];
  const series = await takeSamples(contenders, Math.min(rounds, MAX_ROUNDS), onSample);
  const [unpacked, started] = series;
  if (unpacked === undefined || started === undefined) throw new Error('two contenders make two series');
  return {
    name: 'cri-crowd',
    title: `${size.containers} containers of ${size.images} images through containerd, at once`,
    method: CROWD_METHOD,
    series,
    input: { packages: SHARED_PACKAGES, ...size, rate: RATE },
    claims: [
      atMost(
        `${size.containers} containers on an empty host, against unpacked overlayfs`,
        ratio(started, unpacked, ({ wallMs }) => wallMs),
        '×',
        CROWD_TARGET,
      ),
    ],
  };
}

/** Milliseconds from the first pull to the end of the last container. */
async function startCrowd(
  { cri: client, logDirectory }: PodHost,
  { containers }: CrowdSize,
  images: readonly string[],
  pull: () => Promise<void>,
): Promise<number> {
  const crowdPods: { readonly image: string; readonly pod: Pod }[] = [];
  for (const image of images) {
    pods += 1;
    crowdPods.push({ image, pod: await client.runPod({ name: `pod-${pods}`, logDirectory }) });
  }
  const startedMs = performance.now();
  await pull();
  await Promise.all(
    Array.from({ length: containers }, async (_, index) => {
      const { image, pod } = crowdPods[index % crowdPods.length] ?? {};
      if (image === undefined || pod === undefined) throw new Error('a crowd without pods');
      await client.startContainer(pod, { name: `c-${index}`, image, command: ['/bin/cat', `/${OWN_FILE}`] });
    }),
  );
  const signal = AbortSignal.timeout(CROWD_MS);
  for (const { pod } of crowdPods)
    while ((await client.ended(pod)) < containers / images.length)
      await delay(LOOK_MS, undefined, { signal });
  const wallMs = performance.now() - startedMs;
  for (const { pod } of crowdPods) await client.removePod(pod);
  return wallMs;
}
