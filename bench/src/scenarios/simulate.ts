import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { atMost, RESULTS, type Result } from '../runner/results.ts';
import { median, quantile } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { type PlainScene, runScene } from '../simulator/run.ts';
import type { Outcome } from '../simulator/simulate.ts';
import { TARGETS } from '../targets.ts';

const MEBIBYTE = 1024 * 1024;
const GIGABIT = 125e6;
/** Of what goes over a link, what is no header of TLS, TCP, IP or Ethernet: as `distribute` measures it. */
const PAYLOAD = 1 / 1.046;

/** 1 GiB to hosts that all begin at once, each behind 1 Gbit/s. */
const HERD: PlainScene = {
  hosts: 1_000,
  pieces: 256,
  pieceBytes: 4 * MEBIBYTE,
  linkBytesPerSecond: GIGABIT,
};
const QUICK_HERD: PlainScene = { ...HERD, hosts: 30, pieces: 64 };
const GROWTH = [10, 30, 100, 300, 1_000, 3_000, 10_000];
const QUICK_GROWTH = [10, 30];
/** So many values of a distribution are kept. */
const KEPT_VALUES = 200;

/** What swarms would do that no machine here can hold, by the parts that decide in real ones. */
export const simulated: Scenario = async (options) => [
  await growth(options),
  await sweeps(options),
  ...(options.isQuick ? [] : [await validation(options)]),
];

const sizeOf = ({ pieces, pieceBytes }: PlainScene) => pieces * pieceBytes;
const idealMs = (scene: PlainScene) => (sizeOf(scene) * 1000) / scene.linkBytesPerSecond;

/** What is kept of one simulation. */
interface Figures {
  readonly p50: number;
  readonly p99: number;
  readonly slowest: number;
  readonly unfinished: number;
  readonly origin: number;
  readonly messagesPerHostSecond: number;
  readonly adviceMsPerHost: number;
  readonly simulationSeconds: number;
}

async function figuresOf(scene: PlainScene): Promise<{ figures: Figures; outcome: Outcome }> {
  const startedMs = performance.now();
  const outcome = await runScene(scene);
  const finished = outcome.finishedMs.flatMap((ms) => ms ?? []);
  const share = (of: number) => quantile(finished, of) / idealMs(scene);
  const { messages, simulatedMs } = outcome;
  const figures = {
    p50: share(0.5),
    p99: share(0.99),
    slowest: share(1),
    unfinished: scene.hosts - finished.length,
    origin: outcome.originBytes / sizeOf(scene),
    messagesPerHostSecond: messages.toSupernode / scene.hosts / (simulatedMs / 1000),
    adviceMsPerHost: outcome.supernodeMs / scene.hosts,
    simulationSeconds: (performance.now() - startedMs) / 1000,
  };
  return { figures, outcome };
}

async function growth({ isQuick, onSample }: Parameters<Scenario>[0]): Promise<Result> {
  const herd = isQuick ? QUICK_HERD : HERD;
  const runs: { hosts: number; figures: Figures; values: number[] }[] = [];
  for (const [index, hosts] of (isQuick ? QUICK_GROWTH : GROWTH).entries()) {
    const { figures, outcome } = await figuresOf({ ...herd, hosts });
    onSample(`${hosts} hosts (p99 ${figures.p99.toFixed(2)} ×)`, index, {
      wallMs: figures.simulationSeconds * 1000,
    });
    const values = thinned(outcome.finishedMs.flatMap((ms) => ms ?? [])).map((ms) => ms / idealMs(herd));
    runs.push({ hosts, figures, values });
  }
  const last = runs.at(-1);
  const line = (name: string, of: (figures: Figures) => number) => ({
    name,
    points: runs.map(({ hosts, figures }) => ({ x: hosts, y: of(figures) })),
  });
  return {
    name: 'simulate-growth',
    title: `Simulated: ${sizeOf(herd) / MEBIBYTE} MiB to more and more hosts at once, links of 1 Gbit/s`,
    method:
      'The supernode’s scheduler and the daemons’ choice of pieces, of whom to ask, of what to announce and of whom to serve are the real ones; links, latencies and clocks are simulated. All hosts and the registry have links of the same rate; what all wait for is the size over that rate. Each number of hosts is simulated once: the same seed gives the same outcome.',
    series: runs.map(({ hosts, figures }) => ({
      name: `drakkar, ${hosts} hosts: p99`,
      samples: [{ wallMs: figures.p99 * idealMs(herd) }],
    })),
    input: { ...herd, runs: runs.map(({ hosts, figures }) => ({ hosts, ...figures })) },
    claims: [
      atMost(
        `${last?.hosts} hosts at once: p99, against size ÷ rate`,
        last?.figures.p99 ?? Number.NaN,
        '×',
        TARGETS.simulatedHerd.figure,
      ),
      atMost(
        'bytes of the origin, against the size',
        Math.max(...runs.map(({ figures }) => figures.origin)),
        '×',
        TARGETS.simulatedOrigin.figure,
      ),
      atMost(
        'messages of a host to the supernode',
        Math.max(...runs.map(({ figures }) => figures.messagesPerHostSecond)),
        'a second',
        TARGETS.simulatedControl.figure,
      ),
    ],
    plots: {
      growth: {
        kind: 'lines',
        title: 'How long a cold herd takes, as it grows',
        x: { title: 'hosts', scale: 'log' },
        y: { title: 'time, against size ÷ rate', unit: '×' },
        series: [line('drakkar, p50', ({ p50 }) => p50), line('drakkar, p99', ({ p99 }) => p99)],
        targets: [{ name: 'size ÷ rate', points: runs.map(({ hosts }) => ({ x: hosts, y: 1 })) }],
      },
      messages: {
        kind: 'lines',
        title: 'What each host says to the supernode, as a cold herd grows',
        x: { title: 'hosts', scale: 'log' },
        y: { title: 'messages a second' },
        series: [line('drakkar', ({ messagesPerHostSecond }) => messagesPerHostSecond)],
      },
      finished: {
        kind: 'distribution',
        title: 'When hosts of a cold herd have everything',
        axis: { title: 'time, against size ÷ rate', unit: '×' },
        series: runs.map(({ hosts, values }) => ({ name: `drakkar, ${hosts} hosts`, values })),
      },
    },
  };
}

function thinned(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  const step = Math.max(1, sorted.length / KEPT_VALUES);
  return Array.from({ length: Math.min(sorted.length, KEPT_VALUES) }, (_, index) => {
    return sorted[Math.min(sorted.length - 1, Math.round((index + 1) * step) - 1)] ?? Number.NaN;
  });
}

interface Sweep {
  readonly name: string;
  readonly of: string;
  readonly values: readonly number[];
  readonly scene: (herd: PlainScene, value: number) => PlainScene;
}

const SWEEPS: readonly Sweep[] = [
  {
    name: 'pieces',
    of: 'bytes of a piece (MiB)',
    values: [1, 2, 4, 8, 16],
    scene: (herd, mebibytes) => ({
      ...herd,
      pieceBytes: mebibytes * MEBIBYTE,
      pieces: sizeOf(herd) / (mebibytes * MEBIBYTE),
    }),
  },
  {
    name: 'slots',
    of: 'requests that a host serves at the same time',
    values: [2, 4, 8, 16, 32],
    scene: (herd, uploadSlots) => ({ ...herd, uploadSlots }),
  },
  {
    name: 'candidates',
    of: 'parents that a host is told of',
    values: [4, 6, 8, 12, 16, 24],
    scene: (herd, candidates) => ({ ...herd, swarm: { candidates } }),
  },
  {
    name: 'origins',
    of: 'hosts that may read the registry at the same time',
    values: [1, 2, 4],
    scene: (herd, origins) => ({ ...herd, swarm: { origins } }),
  },
];
const SWEPT_HOSTS = 200;

/** What the defaults were chosen by. */
async function sweeps({ isQuick, onSample }: Parameters<Scenario>[0]): Promise<Result> {
  const herd = isQuick ? QUICK_HERD : { ...HERD, hosts: SWEPT_HOSTS };
  const swept: { sweep: Sweep; points: { value: number; figures: Figures }[] }[] = [];
  for (const sweep of isQuick ? SWEEPS.slice(1, 2) : SWEEPS) {
    const points: { value: number; figures: Figures }[] = [];
    for (const [index, value] of sweep.values.entries()) {
      const { figures } = await figuresOf(sweep.scene(herd, value));
      onSample(`${sweep.name} ${value} (p99 ${figures.p99.toFixed(2)} ×)`, index, {
        wallMs: figures.simulationSeconds * 1000,
      });
      points.push({ value, figures });
    }
    swept.push({ sweep, points });
  }
  return {
    name: 'simulate-sweeps',
    title: `Simulated: what the defaults do to a herd of ${herd.hosts} hosts`,
    method: 'As “Simulated: … to more and more hosts”, with one thing other than by default.',
    series: swept.map(({ sweep, points }) => ({
      name: `drakkar, ${sweep.name}: p99`,
      samples: points.map(({ figures }) => ({ wallMs: figures.p99 * idealMs(herd) })),
    })),
    input: {
      ...herd,
      sweeps: swept.map(({ sweep, points }) => ({
        of: sweep.of,
        points: points.map(({ value, figures }) => ({ value, ...figures })),
      })),
    },
    claims: [],
    plots: Object.fromEntries(
      swept.map(({ sweep, points }) => [
        sweep.name,
        {
          kind: 'lines',
          title: `What becomes of a herd of ${herd.hosts} hosts`,
          x: { title: sweep.of, scale: 'log' },
          y: { title: 'time, against size ÷ rate', unit: '×' },
          series: (['p50', 'p99'] as const).map((name) => ({
            name: `drakkar, ${name}`,
            points: points.map(({ value, figures }) => ({ x: value, y: figures[name] })),
          })),
        } as const,
      ]),
    ),
  };
}

const measuredSchema = z.object({
  input: z.object({
    sizeBytes: z.number(),
    hosts: z.number(),
    rate: z.number(),
    runs: z.array(z.object({ slowest: z.number() })),
  }),
});

/** Simulations of herds that were measured: how far off they are. */
async function validation({ onSample }: Parameters<Scenario>[0]): Promise<Result> {
  const compared: { hosts: number; measured: number; simulated: number }[] = [];
  for (const [index, name] of ['distribute-8', 'distribute-24'].entries()) {
    const { input } = measuredSchema.parse(JSON.parse(await readFile(join(RESULTS, `${name}.json`), 'utf8')));
    const { sizeBytes, hosts, rate, runs } = input;
    const { figures } = await figuresOf({
      hosts,
      pieces: Math.ceil(sizeBytes / MEBIBYTE),
      pieceBytes: MEBIBYTE,
      linkBytesPerSecond: (rate / 8) * PAYLOAD,
    });
    const simulatedSlowest = figures.slowest / PAYLOAD;
    onSample(`${hosts} hosts (${simulatedSlowest.toFixed(2)} ×)`, index, {
      wallMs: figures.simulationSeconds * 1000,
    });
    compared.push({
      hosts,
      measured: median(runs.map(({ slowest }) => slowest)),
      simulated: simulatedSlowest,
    });
  }
  return {
    name: 'simulate-validation',
    title: 'Simulated against measured: 200 MB to 8 and 24 hosts at once',
    method:
      'The herds of the newest `distribute`, which run real daemons in network namespaces; in the simulation links carry headers of TLS, TCP, IP and Ethernet, too.',
    series: [],
    input: { compared },
    claims: compared.map(({ hosts, measured, simulated: figure }) =>
      atMost(`${hosts} hosts: how far the simulation is off`, 100 * Math.abs(figure / measured - 1), '%', 10),
    ),
  };
}
