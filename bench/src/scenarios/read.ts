import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  debianImage,
  type Image,
  imageOf,
  layerOf,
  layerOfFile,
  noise,
  pushImage,
  startRegistry,
  tarArchive,
} from '@drakkar/lab';
import { LAZY_BACKENDS } from '../runner/backends.ts';
import { dropCaches } from '../runner/caches.ts';
import { runFio } from '../runner/fio.ts';
import { type BenchMachine, startBenchMachine } from '../runner/machine.ts';
import { mountOverlay, type Rootfs, unpackLayers } from '../runner/overlay.ts';
import { atLeast, type Claim, type Result } from '../runner/results.ts';
import { medianOf, type Series, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const BIG_FILE = 'big';
const FULL: Size = { packages: ['python3', 'python3-numpy'], bigBytes: 256 * 1024 ** 2, walks: 5 };
const QUICK: Size = { packages: ['python3'], bigBytes: 16 * 1024 ** 2, walks: 1 };
/** Behind the big file, and longer than what is read ahead of it; nobody reads it, so that something is missing and their device stays marked. */
const UNREAD_FILE = 'unread';
const UNREAD_BYTES = 32 * 1024 ** 2;

interface Size {
  readonly packages: readonly string[];
  readonly bigBytes: number;
  /** Of the tree, so that one sample takes long enough. */
  readonly walks: number;
}

interface Workload {
  readonly name: string;
  readonly title: string;
  /** With all caches dropped before, so that the disk is read; else all that is read is in memory. */
  readonly isCold?: boolean;
  /** Milliseconds. */
  read(rootfs: string): Promise<number>;
}

/** Somewhere to read. */
interface Reader {
  readonly name: string;
  /** Its speed against that of overlayfs, warm. */
  readonly target: number;
  readonly rootfs: string;
}

const OVERLAYFS = 'overlayfs';
const RETIRED = 'drakkar, retired';

/** What is filled and not retired, of the speed of the same file without a mark. */
const MARKED_TARGET = 0.8;

const fio =
  (job: Omit<Parameters<typeof runFio>[0], 'path'>) =>
  (rootfs: string): Promise<number> =>
    runFio({ ...job, path: join(rootfs, BIG_FILE) });

const sequential = { pattern: 'read', engine: 'psync', blockBytes: 128 * 1024 } as const;
const random = { pattern: 'randread', engine: 'psync', blockBytes: 4096 } as const;

const workloadsOf = ({ bigBytes, walks }: Size): readonly Workload[] => [
  { name: 'sequential', title: 'sequential reads', read: fio({ ...sequential, readBytes: 32 * bigBytes }) },
  { name: 'random', title: 'random 4 KiB reads', read: fio({ ...random, readBytes: 4 * bigBytes }) },
  {
    name: 'mmap',
    title: 'random 4 KiB reads through mmap',
    read: fio({ ...random, engine: 'mmap', readBytes: 4 * bigBytes }),
  },
  { name: 'stat', title: 'stat of all files', read: walk(walks, 'find "$1" -xdev -printf %s') },
  { name: 'readdir', title: 'all directories', read: walk(walks, 'find "$1" -xdev') },
  {
    name: 'sequential-disk',
    title: 'sequential reads from the disk',
    isCold: true,
    read: fio({ ...sequential, readBytes: bigBytes }),
  },
  {
    name: 'random-disk',
    title: 'random 4 KiB reads from the disk',
    isCold: true,
    read: fio({ ...random, readBytes: bigBytes / 4 }),
  },
];

function walk(walks: number, command: string): Workload['read'] {
  const script = `for walk in $(seq ${walks}); do ${command} > /dev/null; done`;
  return async (rootfs) => {
    const startedMs = performance.now();
    await promisify(execFile)('sh', ['-euc', script, 'sh', rootfs]);
    return performance.now() - startedMs;
  };
}

const METHOD = [
  'What a container would read, when all that it reads is here. All are overlays: over layers that are unpacked on the same disk; over a volume that the kernel reads alone;',
  'over volumes that were filled by reading every file once but one beside those that are measured, so that they are asked about as long as they are mounted, one a backend.',
  'Warm: everything has been read once before, and fio leaves the caches alone. From the disk: all caches are dropped before each.',
].join(' ');

/** Reads of a container's root file system, against overlayfs over the same tree. */
export const read: Scenario = async ({ rounds, isQuick, onSample }) => {
  const size = isQuick ? QUICK : FULL;
  const directory = await mkdtemp('/var/tmp/drakkar-read-');
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const registry = stack.use(await startRegistry());
  const image = await makeImage(size);
  await pushImage(registry.url, image, { repository: 'bench/read', tag: 'latest' });
  const reference = `${registry.host}/bench/read:latest`;
  const readers: Reader[] = [];
  const lazy: BenchMachine[] = [];
  const overlay = stack.use(await mountOverlay(await unpackLayers(image.layers, directory), directory));
  readers.push({ name: OVERLAYFS, target: 1, rootfs: overlay.path });
  const builder = stack.use(await startBenchMachine());
  await builder.client.buildSnapshot({ image: reference, push: true });
  const { path } = stack.use(await startRootfs(builder, reference));
  readers.push({ name: RETIRED, target: 1, rootfs: path });
  const { builderPublicKey } = await builder.client.status();
  for (const { name: backend, readTarget: target } of LAZY_BACKENDS) {
    const machine = stack.use(
      await startBenchMachine({
        snapshots: { trustedBuilders: [builderPublicKey] },
        volumes: { background: 'off' },
        native: { backend },
      }),
    );
    const rootfs = stack.use(await startRootfs(machine, reference));
    readers.push({ name: `drakkar, ${backend}`, target, rootfs: rootfs.path });
    lazy.push(machine);
  }
  for (const { rootfs } of readers) await readAll(rootfs);
  for (const { client } of lazy) {
    const [snapshot] = await client.snapshots();
    if (snapshot?.residency === 1) throw new Error('nothing is missing, so that nothing is marked');
  }
  const results: Result[] = [];
  for (const workload of workloadsOf(size))
    results.push(await measure(workload, size, readers, rounds, onSample));
  return results;
};

async function makeImage({ packages, bigBytes }: Size): Promise<Image> {
  const { layers } = await debianImage({ packages });
  const big = tarArchive([
    { name: BIG_FILE, data: noise(bigBytes, 'read') },
    { name: UNREAD_FILE, data: noise(UNREAD_BYTES, 'unread') },
  ]);
  return imageOf({ layers: [...layers.map(layerOfFile), layerOf(big, { compression: 'none' })] });
}

async function startRootfs({ client }: BenchMachine, image: string): Promise<Rootfs> {
  const { id, rootfs } = await client.start({ image });
  return { path: rootfs, [Symbol.asyncDispose]: () => client.endStart(id) };
}

/** Fills a volume, and the caches. */
async function readAll(rootfs: string): Promise<void> {
  await promisify(execFile)('sh', [
    '-euc',
    'find "$1" -xdev -type f ! -path "$1/$2" -exec cat {} + > /dev/null',
    'sh',
    rootfs,
    UNREAD_FILE,
  ]);
}

async function measure(
  { name, title, isCold = false, read: readFrom }: Workload,
  { packages, bigBytes }: Size,
  readers: readonly Reader[],
  rounds: number,
  onSample: Parameters<Scenario>[0]['onSample'],
): Promise<Result> {
  if (!isCold) for (const { rootfs } of readers) await readFrom(rootfs);
  const series = await takeSamples(
    readers.map((reader) => ({
      name: reader.name,
      async measure() {
        if (isCold) await dropCaches();
        return { wallMs: await readFrom(reader.rootfs) };
      },
    })),
    rounds,
    onSample,
  );
  return {
    name: `read-${name}`,
    title: `A container’s files: ${title}`,
    method: METHOD,
    series,
    input: { packages, bigFileBytes: bigBytes, isCold },
    claims: isCold
      ? [markedClaim(title, series)]
      : readers.slice(1).map((reader) => claimOf(title, reader, series)),
  };
}

const wallOf = (series: readonly Series[], name: string) => medianOf(series, name, ({ wallMs }) => wallMs);

function claimOf(title: string, { name, target }: Reader, series: readonly Series[]): Claim {
  const speed = wallOf(series, OVERLAYFS) / wallOf(series, name);
  return atLeast(`${title}: speed of ${name}, against overlayfs`, speed, '×', target);
}

function markedClaim(title: string, series: readonly Series[]): Claim {
  const speed = wallOf(series, RETIRED) / wallOf(series, 'drakkar, fanotify');
  return atLeast(`${title}: speed while marked, against unmarked`, speed, '×', MARKED_TARGET);
}
