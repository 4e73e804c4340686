import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Receipt } from '@drakkar/client';
import {
  type Containerd,
  helperProcesses,
  layerOf,
  startContainerd,
  tarArchive,
  writePlainHosts,
} from '@drakkar/lab';
import type { FleetHost } from '../fleet/fleet.ts';
import { type SeededFleet, seedSnapshot, startSeededFleet } from '../fleet/seeded.ts';
import { pushLayers } from '../runner/images.ts';
import { cpuMsOf } from '../runner/process.ts';
import { atMost, type Result } from '../runner/results.ts';
import { median, type Sample } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { childTimesMs } from './build.ts';
import { flushDisks, inRootfs, readAll } from './fill.ts';

const FILE = 'data';
const SIZE_BYTES = 256e6;
const QUICK_BYTES = 64e6;
const GIGABYTE = 1e9;

const PARTS = ['daemon that gives', 'daemon that takes', 'supernode', 'native helper', 'containerd'] as const;
type Part = (typeof PARTS)[number];

const METHOD =
  'Two hosts and a supernode over loopback, each a process of its own; one file of random bytes, in an image of its own each time. CPU is user and system time of each process and of those that it has begun, in seconds for 10⁹ bytes that arrive; bytes are those that moved for each that arrived, without headers.';

interface CostSample extends Sample {
  /** By part: for a gigabyte that arrives. */
  readonly cpuSecondsPerGigabyte: Readonly<Partial<Record<Part, number>>>;
  /** That moved, against those that arrived. */
  readonly movedShare: number;
}

type Pids = Readonly<Partial<Record<Part, readonly number[]>>>;

/** What it costs to bring a gigabyte to a host, by how it comes and by who works for it. */
export const cost: Scenario = async ({ rounds, isQuick, onSample }) => {
  const sizeBytes = isQuick ? QUICK_BYTES : SIZE_BYTES;
  await using seeded = await startSeededFleet({ clients: [{ volumes: { background: 'off' } }] });
  await using containerd = await startContainerd();
  await using bench = await benchOf(seeded, containerd);
  const samples = new Map<string, CostSample[]>();
  // One turn is not counted: everything in it is done for the first time.
  for (let round = -1; round < rounds; round += 1) {
    const image = await push(seeded, sizeBytes, round + 1);
    for (const { name, pids, deliver } of bench.deliveries) {
      await flushDisks();
      const sample = await measure(pids, sizeBytes, () => deliver(image));
      if (round < 0) continue;
      samples.set(name, [...(samples.get(name) ?? []), sample]);
      onSample(name, round, sample);
    }
  }
  const series = [...samples].map(([name, of]) => ({ name, samples: of }));
  const result: Result = {
    name: 'cost',
    title: `What it costs to bring ${Math.round(sizeBytes / 1e6)} MB to a host`,
    method: `${METHOD}\n\n${tableOf(series)}`,
    series,
    input: { sizeBytes },
    claims: series
      .filter(({ name }) => MOVED.has(name))
      .map(({ name, samples: of }) =>
        atMost(`${name}: bytes that moved, against those that arrived`, movedShareOf(of), '×', 1.02),
      ),
  };
  return [result];
};

const REGISTRY = 'from the registry';
const HOST = 'from another host';
const VOLUME = 'from another host into a volume that is read';
/** What comes over the network. */
const MOVED: ReadonlySet<string> = new Set([REGISTRY, HOST, VOLUME]);

/** Something that brings an image's bytes to a host; each in its turn finds what those before it have left. */
interface Delivery {
  readonly name: string;
  readonly pids: Pids;
  deliver(image: string): Promise<Delivered>;
}

interface Delivered {
  readonly receipt?: Receipt;
  /** Of processes that have ended. */
  readonly more?: Readonly<Partial<Record<Part, number>>>;
}

async function benchOf(
  seeded: SeededFleet,
  containerd: Containerd,
): Promise<AsyncDisposable & { readonly deliveries: readonly Delivery[] }> {
  const { fleet, seed } = seeded;
  const [host] = seeded.clients as [FleetHost];
  const hosts = await mkdtemp('/var/tmp/drakkar-bench-hosts-');
  await writePlainHosts(hosts, fleet.registry.host, (await host.client.status()).mirrorUrl);
  const supernode = [fleet.supernode.pid];
  const deliveries: Delivery[] = [
    {
      name: REGISTRY,
      pids: { 'daemon that takes': [seed.pid], supernode },
      deliver: (image) => seed.client.pull({ image }),
    },
    {
      name: HOST,
      pids: { 'daemon that gives': [seed.pid], 'daemon that takes': [host.pid], supernode },
      deliver: (image) => host.client.pull({ image }),
    },
    {
      name: 'from the mirror to containerd',
      pids: { 'daemon that gives': [host.pid], supernode, containerd: [containerd.pid] },
      deliver: async (image) => {
        const fetch = `ctr --address ${containerd.address} --namespace bench content fetch --hosts-dir ${hosts} ${image}`;
        const { stdout } = await promisify(execFile)('sh', ['-c', `${fetch} >/dev/null || exit; times`]);
        return { more: { containerd: childTimesMs(stdout) } };
      },
    },
    {
      name: 'into a snapshot, which is built',
      pids: { 'daemon that takes': [seed.pid], supernode },
      deliver: async (image) => await seedSnapshot(seeded, image),
    },
    {
      name: VOLUME,
      pids: {
        'daemon that gives': [seed.pid],
        'daemon that takes': [host.pid],
        'native helper': helperProcesses(dirname(host.stateDirectory)),
        supernode,
      },
      deliver: (image) =>
        inRootfs(host, image, async (rootfs, start) => {
          await readAll(join(rootfs, FILE));
          return await host.client.startStatus(start);
        }),
    },
  ];
  return { deliveries, [Symbol.asyncDispose]: () => rm(hosts, { recursive: true }) };
}

async function push({ fleet }: SeededFleet, sizeBytes: number, round: number): Promise<string> {
  const layer = layerOf(tarArchive([{ name: FILE, data: randomBytes(sizeBytes) }]), { compression: 'none' });
  const repository = `bench/cost-${round}`;
  return (await pushLayers(fleet.registry, [layer], { repository, tag: 'latest' })).reference;
}

async function measure(
  pids: Pids,
  sizeBytes: number,
  deliver: () => Promise<Delivered>,
): Promise<CostSample> {
  const before = await cpuOf(pids);
  const startedMs = performance.now();
  const { receipt, more = {} } = await deliver();
  const wallMs = performance.now() - startedMs;
  const after = await cpuOf(pids);
  const cpuMs = PARTS.flatMap((part) => {
    const [begin, end] = [before[part], after[part]];
    return begin === undefined || end === undefined ? [] : [[part, end - begin + (more[part] ?? 0)] as const];
  });
  const gigabytes = sizeBytes / GIGABYTE;
  const { upstreamBytes = 0, peerBytes = 0, discardedBytes = 0 } = receipt ?? {};
  return {
    wallMs,
    cpuMs: cpuMs.reduce((sum, [, ms]) => sum + ms, 0),
    cpuSecondsPerGigabyte: Object.fromEntries(cpuMs.map(([part, ms]) => [part, ms / 1000 / gigabytes])),
    movedShare: (upstreamBytes + peerBytes + discardedBytes) / sizeBytes,
  };
}

async function cpuOf(pids: Pids): Promise<Partial<Record<Part, number>>> {
  const all = PARTS.map(async (part) => {
    const of = pids[part];
    if (of === undefined) return [];
    const ms = await Promise.all(of.map(cpuMsOf));
    return [[part, ms.reduce((sum, one) => sum + one, 0)] as const];
  });
  return Object.fromEntries((await Promise.all(all)).flat());
}

const movedShareOf = (samples: readonly CostSample[]): number =>
  median(samples.map(({ movedShare }) => movedShare));

function tableOf(
  series: readonly { readonly name: string; readonly samples: readonly CostSample[] }[],
): string {
  const rows = series.map(({ name, samples }) => {
    const cells = PARTS.map((part) => {
      const values = samples.flatMap(({ cpuSecondsPerGigabyte }) => cpuSecondsPerGigabyte[part] ?? []);
      return values.length === 0 ? '–' : median(values).toFixed(2);
    });
    const moved = movedShareOf(samples);
    return `| ${name} | ${cells.join(' | ')} | ${moved === 0 ? '–' : moved.toFixed(3)} |`;
  });
  const heads = ['CPU-seconds a gigabyte', ...PARTS, 'bytes moved'];
  return [`| ${heads.join(' | ')} |`, `|${' --- |'.repeat(heads.length)}`, ...rows].join('\n');
}
