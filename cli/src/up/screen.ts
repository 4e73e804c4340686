import type { PullResult } from '@drakkar/client';
import { formatBytes, formatCount, formatDuration } from '../output/format.ts';
import { describeReceipt } from '../output/receipt.ts';
import { drawBar, type Stretch, stretches } from '../output/timeline.ts';
import type { RunReport } from '../run/run-image.ts';
import { DEMO_ZONE } from './cluster.ts';
import type { ContainerdStart } from './containerd-start.ts';
import type { PodReport } from './pod.ts';

/** What the demo has seen. */
export interface DemoResult {
  readonly image: string;
  readonly containerd: ContainerdStart;
  readonly cold: RunReport;
  readonly warm: RunReport;
  readonly output: string;
  /** The second host, which pulls all of it. */
  readonly pulled: PullResult;
  /** The third host, which has nothing and starts it all the same. */
  readonly third: ThirdHost;
  /** The fourth, whose containerd runs a pod of it; nothing where the image is not the demo's own. */
  readonly pod: PodReport | undefined;
}

export interface ThirdHost {
  readonly report: RunReport;
  /** How much of it was there when its container had said something: 0 … 1. */
  readonly residencyAtOutput: number;
  /** What a container said that read all files while the helper's worker was killed so often. */
  readonly reader: { readonly words: string; readonly kills: number } | undefined;
  /** From the first output on, until all of it was there. */
  readonly completeAfterMs: number;
}

export interface DemoPlaces {
  readonly state: string;
  readonly socket: string;
  readonly mirrorUrl: string;
  readonly supernodeConfig: string;
  readonly consoleUrl: string;
}

const BAR_WIDTH = 46;

/** Below this share of the whole, a stretch is not worth a word. */
const WORTH_NAMING = 0.03;

interface Lane {
  readonly name: string;
  readonly stretches: readonly Stretch[];
  readonly bytes: string;
}

/** The one screen of the demo: the timelines side by side, the bytes, where things lie, what to try next. Pure. */
export function demoScreen(result: DemoResult, places: DemoPlaces, ending: boolean): string {
  const lanes: Lane[] = [
    {
      name: 'containerd, cold',
      stretches: result.containerd.stretches,
      bytes: 'whole image from the registry',
    },
    lane('drakkar, cold', result.cold),
    lane('drakkar, warm', result.warm),
    lane('drakkar, lazy', result.third.report),
  ];
  const totalMs = Math.max(...lanes.map(endOf));
  const nameWidth = Math.max(...lanes.map(({ name }) => name.length));
  const drawn = lanes.flatMap((one) => [
    `  ${one.name.padEnd(nameWidth)}  ${drawBar(one.stretches, totalMs, BAR_WIDTH).padEnd(BAR_WIDTH)}  ${formatDuration(endOf(one))}`,
    `  ${' '.repeat(nameWidth)}  ${describe(one, totalMs)}`,
    `  ${' '.repeat(nameWidth)}  ${one.bytes}`,
  ]);
  const next = ending
    ? []
    : [
        '',
        `  console                ${places.consoleUrl}`,
        `  mirror for containerd  ${places.mirrorUrl}`,
        `  state                  ${places.state}`,
        '',
        'It is still up. In another terminal:',
        `  export DRAKKAR_SOCKET=${places.socket}`,
        `  bin/drakkar run -i -t ${result.image} -- bash`,
        '  bin/drakkar snapshot ls',
        `  bin/drakkar hosts --config ${places.supernodeConfig}`,
        `  bin/drakkar preheat ${result.image} --label zone=${DEMO_ZONE} --config ${places.supernodeConfig}`,
        `  bin/drakkar snapshot export --flat -o image.erofs ${result.image}`,
        '',
        'Ctrl-C ends it and leaves nothing behind.',
      ];
  return [
    '',
    `${result.image}, from nothing to its first output`,
    `  “${result.output}”`,
    '',
    ...drawn,
    '',
    'more hosts, each behind a link of 1 Gbit/s',
    '',
    ...hosts(result),
    ...next,
  ].join('\n');
}

function hosts({ pulled, third, pod }: DemoResult): string[] {
  const { report, reader, residencyAtOutput, completeAfterMs } = third;
  const firstOutput = report.marks.find(({ name }) => name === 'first-output')?.atMs ?? 0;
  const read =
    reader === undefined
      ? []
      : [
          `          then a container read ${reader.words} of it while the helper’s worker was killed ${formatCount(reader.kills, 'time')}`,
        ];
  return [
    `  host 2  pulls all of it   ${formatDuration(pulled.elapsedMs).padEnd(8)} ${describeReceipt(pulled.receipt)}`,
    `  host 3  starts it lazily  ${formatDuration(firstOutput).padEnd(8)} ${describeReceipt(report.receipt)}`,
    `          ${Math.round(residencyAtOutput * 100)} % of it was there at its first output, all of it ${formatDuration(completeAfterMs)} later`,
    ...read,
    ...(pod === undefined ? [] : podLines(pod)),
  ];
}

function podLines({ pullMs, runMs, residency, fromRegistryBytes }: PodReport): string[] {
  return [
    `  host 4  runs it in a pod  ${formatDuration(pullMs + runMs).padEnd(8)} pull ${formatDuration(pullMs)}, container ${formatDuration(runMs)}; ${formatBytes(fromRegistryBytes)} from the registry`,
    `          ${Math.round(residency * 100)} % of it was there then; containerd unpacked nothing`,
  ];
}

function lane(name: string, report: RunReport): Lane {
  const untilOutput = report.marks.filter((mark) => mark.name !== 'ended');
  return {
    name,
    stretches: stretches(untilOutput),
    bytes: describeReceipt(report.receipt),
  };
}

function endOf({ stretches: list }: Pick<Lane, 'stretches'>): number {
  return list.at(-1)?.toMs ?? 0;
}

function describe({ stretches: list }: Lane, totalMs: number): string {
  const worth = list.filter(({ fromMs, toMs }) => toMs - fromMs >= totalMs * WORTH_NAMING);
  const named = worth.length > 0 ? worth : list.slice(-2);
  return named.map(({ name, fromMs, toMs }) => `${name} ${formatDuration(toMs - fromMs)}`).join(', ');
}
