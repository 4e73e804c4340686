import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageLayer } from '@drakkar/lab';
import type { FleetHost } from '../fleet/fleet.ts';
import { emptyHost, expectGiven, seedSnapshot, startSeededFleet } from '../fleet/seeded.ts';
import { dropCaches, programFiles } from '../runner/caches.ts';
import { startRunner } from '../runner/container.ts';
import { mountOverlay, type Rootfs, unpackLayers } from '../runner/overlay.ts';
import { eachOf } from '../runner/parallel.ts';
import { OWN_FILE, pushRelated, type RelatedImage, SHARED_PACKAGES } from '../runner/related-images.ts';
import { atMost, type Result } from '../runner/results.ts';
import { type Contender, median, ratio, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const FULL: Size = { images: 8, containers: 500 };
const QUICK: Size = { images: 2, containers: 16 };
/** Begun and not ready, at the same time. */
const AT_A_TIME = 8;
const COMMAND = ['/bin/cat', `/${OWN_FILE}`];
const MAX_ROUNDS = 3;

interface Size {
  readonly images: number;
  readonly containers: number;
}

/** Gives a root file system of one of the images. */
type Prepare = (image: number) => Promise<Rootfs>;

/** What is done with a root file system as soon as it is there. */
type Use = (rootfs: string, container: number) => Promise<void>;

/** Where root file systems come from. */
interface Place {
  readonly name: string;
  /** Before anything is measured: as cold as it may be. */
  empty(): Promise<void>;
  readonly prepare: Prepare;
}

const METHOD = [
  `On one host that has nothing of the images, ${AT_A_TIME} at a time. The images have the layers of Debian with Python in common, and a layer of 8 MiB each for itself; another host, over loopback, has their snapshots. Nothing is completed in the background.`,
  'Against the same over overlayfs, with the layers unpacked on the same disk before.',
  'What starts of the images read the cluster knows from the second round on. All caches are dropped before, but those of running programs, the registry and the other host.',
].join(' ');
const CONTAINERS_METHOD =
  'runc starts a container from the same bundle on each root file system; it prints a file and ends. They come after the root file systems alone, so that what those read is known, and from the second round on what the containers read. The time is that of all, to their ends.';

/** Five hundred containers at once on an empty host. */
export const burst: Scenario = async ({ rounds, isQuick, onSample }) => {
  const size = isQuick ? QUICK : FULL;
  const { containers: count } = size;
  const directory = await mkdtemp('/var/tmp/drakkar-burst-');
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const seeded = stack.use(await startSeededFleet({ clients: [{ volumes: { background: 'off' } }] }));
  const { fleet, seed, clients } = seeded;
  const [host] = clients;
  if (host === undefined) throw new Error('a fleet without clients');
  const images = await pushRelated(fleet.registry, size.images);
  for (const { reference } of images) await seedSnapshot(seeded, reference);
  const kept = [...(await programFiles(['runc'])), seed.stateDirectory, fleet.registry.directory];
  const settle = () => dropCaches(kept);
  const places = [
    await unpackedPlace(images, join(directory, 'unpacked'), settle),
    drakkarPlace(images, host, settle),
  ];
  const runner = await startRunner(join(directory, 'containers'));
  let runs = 0;
  const readOne: Use = async (rootfs) => void (await readFile(join(rootfs, OWN_FILE)));
  const runOne: Use = async (rootfs, container) =>
    void (await runner.run(`bench-${process.pid}-${runs}-${container}`, rootfs, COMMAND));
  const measure = (use: Use) =>
    takeSamples(
      places.map((place) => contenderOf(place, use, size, () => (runs += 1))),
      Math.min(rounds, MAX_ROUNDS),
      onSample,
    );
  const input = {
    packages: SHARED_PACKAGES,
    ...size,
    atATime: AT_A_TIME,
    command: COMMAND,
  };
  const mounts = await measure(readOne);
  const containers = await measure(runOne);
  await expectGiven(host);
  const [, ours] = mounts;
  const [unpacked, started] = containers;
  if (ours === undefined || unpacked === undefined || started === undefined)
    throw new Error('two places make two series');
  const mountMs = median(ours.samples.map(({ wallMs }) => wallMs));
  const results: Result[] = [
    {
      name: 'burst-mounts',
      title: `${count} root file systems of ${size.images} images, each with one file read`,
      method: METHOD,
      series: mounts,
      input,
      claims: [atMost(`${count} root file systems, cold`, mountMs / 1000, 's', TARGETS.mounts.figure)],
    },
    {
      name: 'burst-containers',
      title: `${count} containers of ${size.images} images`,
      method: `${METHOD} ${CONTAINERS_METHOD}`,
      series: containers,
      input,
      claims: [
        atMost(
          `${count} containers, cold, against unpacked overlayfs`,
          ratio(started, unpacked, ({ wallMs }) => wallMs),
          '×',
          1.3,
        ),
      ],
    },
  ];
  return results;
};

function drakkarPlace(images: readonly RelatedImage[], host: FleetHost, settle: () => Promise<void>): Place {
  return {
    name: 'drakkar, cold',
    async empty() {
      await emptyHost(host);
      await settle();
    },
    async prepare(image) {
      const { id, rootfs } = await host.client.start({ image: imageAt(images, image).reference });
      return { path: rootfs, [Symbol.asyncDispose]: () => host.client.endStart(id) };
    },
  };
}

async function unpackedPlace(
  images: readonly RelatedImage[],
  directory: string,
  empty: () => Promise<void>,
): Promise<Place> {
  const unpacked = new Map<ImageLayer['digest'], string>();
  for (const layer of images.flatMap(({ layers }) => layers)) {
    if (unpacked.has(layer.digest)) continue;
    const [path = ''] = await unpackLayers([layer], join(directory, `${unpacked.size}`));
    unpacked.set(layer.digest, path);
  }
  let overlays = 0;
  return {
    name: 'overlayfs, unpacked',
    empty,
    prepare(image) {
      overlays += 1;
      const lower = imageAt(images, image).layers.map(({ digest }) => unpacked.get(digest) ?? '');
      return mountOverlay(lower, join(directory, `overlay-${overlays}`));
    },
  };
}

function contenderOf(
  { name, empty, prepare }: Place,
  use: Use,
  { images, containers }: Size,
  onBegin: () => void,
): Contender {
  return {
    name,
    async measure() {
      onBegin();
      await empty();
      await using mounted = new AsyncDisposableStack();
      const startedMs = performance.now();
      await eachOf(
        Array.from({ length: containers }, (_, index) => index),
        AT_A_TIME,
        async (container) => {
          const rootfs = mounted.use(await prepare(container % images));
          await use(rootfs.path, container);
        },
      );
      return { wallMs: performance.now() - startedMs };
    },
  };
}

function imageAt(images: readonly RelatedImage[], index: number): RelatedImage {
  const image = images[index];
  if (image === undefined) throw new RangeError(`there is no image ${index}`);
  return image;
}
