import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GrpcClient } from '@drakkar/containerd';
import {
  buildOverlayfsSnapshotter,
  buildSnapshotterCalls,
  type Image,
  imageOf,
  layerOf,
  pushImage,
  startChild,
  startRegistry,
  tarArchive,
  untilReady,
} from '@drakkar/lab';
import { chainIdsOf, containerd } from '@drakkar/protocol';
import { status } from '@grpc/grpc-js';
import { startBenchMachine } from '../runner/machine.ts';
import { atMost, type Result } from '../runner/results.ts';
import { medianOf, type Series } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const run = promisify(execFile);

const LAYERS = 8;
/** Of each call, in a round of one snapshotter. */
const CALLS = 200;
const QUICK_CALLS = 10;
const TARGET = 1.5;

const OVERLAYFS = 'overlayfs';
const DIRECTORIES = 'drakkar, directories';
const IMAGE = 'drakkar, an image not unpacked';

const KINDS = ['prepare', 'mounts', 'remove'] as const;

/** Milliseconds of each call. */
type Calls = Readonly<Record<(typeof KINDS)[number], readonly number[]>>;

/** A snapshotter with something to stand upon. */
interface Place {
  readonly name: string;
  readonly socket: string;
  readonly parent: string;
}

const METHOD = [
  `A program of Go with containerd’s own client prepares a snapshot upon an image of ${LAYERS} layers, asks for its mounts, and removes it, as many times in each round as stands in the raw data; nothing is mounted.`,
  'Containerd’s overlayfs snapshotter is served by a program of its own at a socket of the same kind. Both are asked in turn, and keep what they know on the same disk.',
  'Drakkar is asked twice: upon layers that lie in directories, as with overlayfs, and upon those of an image that was not unpacked, which is mounted already.',
].join(' ');

/** What a snapshotter's calls take. */
export const snapshots: Scenario = async ({ rounds, isQuick, onSample }) => {
  const calls = isQuick ? QUICK_CALLS : CALLS;
  const [program, overlayfs] = [await buildSnapshotterCalls(), await buildOverlayfsSnapshotter()];
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-snapshots-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const [ours, theirs] = [join(directory, 'drakkar.sock'), join(directory, 'overlayfs.sock')];
  const registry = stack.use(await startRegistry());
  const machine = stack.use(await startBenchMachine({ containerd: { snapshotterSocket: ours } }));
  const server = stack.use(startChild(overlayfs, [theirs, join(directory, 'overlayfs')]));
  await untilReady(server, OVERLAYFS, () =>
    unpackedLayers(theirs, 'ready', 1).then(
      () => true,
      () => false,
    ),
  );
  const image = imageOf({ layers: Array.from({ length: LAYERS }, (_, index) => smallLayer(index)) });
  await pushImage(registry.url, image, { repository: 'bench/layers', tag: 'latest' });
  const reference = `${registry.host}/bench/layers:latest`;
  await machine.client.buildSnapshot({ image: reference });
  const places: Place[] = [
    { name: OVERLAYFS, socket: theirs, parent: await unpackedLayers(theirs, 'layer', LAYERS) },
    { name: DIRECTORIES, socket: ours, parent: await unpackedLayers(ours, 'layer', LAYERS) },
    { name: IMAGE, socket: ours, parent: await remoteLayers(ours, reference, image) },
  ];
  const samples = new Map<string, number[]>();
  for (let round = -1; round < rounds; round += 1) {
    for (const place of places) {
      const taken = await callsOf(program, place, calls);
      for (const kind of KINDS) {
        // The first round warms up.
        if (round === -1) continue;
        const name = `${kind}: ${place.name}`;
        samples.set(name, [...(samples.get(name) ?? []), ...taken[kind]]);
        onSample(name, round, {
          wallMs: medianOf([seriesOf(name, taken[kind])], name, ({ wallMs }) => wallMs),
        });
      }
    }
  }
  return KINDS.map((kind) => resultOf(kind, samples, calls));
};

function resultOf(
  kind: (typeof KINDS)[number],
  samples: ReadonlyMap<string, readonly number[]>,
  calls: number,
): Result {
  const series = [OVERLAYFS, DIRECTORIES, IMAGE].map((name) =>
    seriesOf(name, samples.get(`${kind}: ${name}`) ?? []),
  );
  const p50 = (name: string) => medianOf(series, name, ({ wallMs }) => wallMs);
  const call = kind.charAt(0).toUpperCase() + kind.slice(1);
  return {
    name: `snapshots-${kind}`,
    title: `${call} of a snapshot upon ${LAYERS} layers`,
    method: METHOD,
    series,
    input: { layers: LAYERS, calls },
    claims: [DIRECTORIES, IMAGE].map((name) =>
      atMost(`${call}, p50, against overlayfs: ${name}`, p50(name) / p50(OVERLAYFS), '×', TARGET),
    ),
  };
}

const seriesOf = (name: string, takenMs: readonly number[]): Series => ({
  name,
  samples: takenMs.map((wallMs) => ({ wallMs })),
});

async function callsOf(program: string, { socket, parent }: Place, calls: number): Promise<Calls> {
  const { stdout } = await run(program, [socket, parent, `${calls}`]);
  const nanoseconds = JSON.parse(stdout) as Calls;
  const milliseconds = KINDS.map((kind) => [kind, nanoseconds[kind].map((taken) => taken / 1e6)]);
  return Object.fromEntries(milliseconds) as Calls;
}

const smallLayer = (index: number) => layerOf(tarArchive([{ name: `layer-${index}`, data: `${index}\n` }]));

/** Commits empty layers, each upon the one before. Gives the uppermost. */
async function unpackedLayers(socket: string, name: string, count: number): Promise<string> {
  using client = new GrpcClient(socket);
  let parent = '';
  for (let index = 0; index < count; index += 1) {
    const layer = `${name}-${index}`;
    const key = `${layer}-active`;
    await client.call(containerd.Snapshots.method.prepare, { key, parent });
    await client.call(containerd.Snapshots.method.commit, { key, name: layer });
    parent = layer;
  }
  return parent;
}

/** Asks for an image's layers as one does who pulls. Gives the uppermost. */
async function remoteLayers(socket: string, reference: string, image: Image): Promise<string> {
  using client = new GrpcClient(socket);
  let parent = '';
  for (const chainId of chainIdsOf(image.layers.map(({ diffId }) => diffId))) {
    const labels = {
      [containerd.REF_LABEL]: chainId,
      [containerd.IMAGE_LABEL]: reference,
      [containerd.MANIFEST_LABEL]: image.manifest.digest,
    };
    const outcome = await client
      .call(containerd.Snapshots.method.prepare, { key: `extract ${chainId}`, parent, labels })
      .then(
        () => status.OK,
        (error: { code: status }) => error.code,
      );
    if (outcome !== status.ALREADY_EXISTS) throw new Error(`${reference} is to be unpacked`);
    parent = chainId;
  }
  return parent;
}
