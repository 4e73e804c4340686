import type { PullResult } from '@drakkar/client';
import { formatDuration } from '../output/format.ts';
import { describeReceipt } from '../output/receipt.ts';
import { drawBar, type Stretch, stretches } from '../output/timeline.ts';
import type { RunReport } from '../run/run-image.ts';
import type { ContainerdStart } from './containerd-start.ts';

/** What the demo has seen. */
export interface DemoResult {
  readonly image: string;
  readonly containerd: ContainerdStart;
  readonly cold: RunReport;
  readonly warm: RunReport;
  readonly output: string;
  /** The second and the third host, which pull at the same time. */
  readonly others: readonly PullResult[];
}

export interface DemoPlaces {
  readonly state: string;
  readonly socket: string;
  readonly mirrorUrl: string;
  readonly supernodeConfig: string;
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
        'It is still up. In another terminal:',
        `  export DRAKKAR_SOCKET=${places.socket}`,
        `  bin/drakkar run -i -t ${result.image} -- bash`,
        '  bin/drakkar snapshot ls',
        `  bin/drakkar hosts --config ${places.supernodeConfig}`,
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
    'two more hosts pull it at the same time',
    '',
    ...result.others.map(
      ({ elapsedMs, receipt }, index) =>
        `  host ${index + 2}  ${formatDuration(elapsedMs).padEnd(8)}  ${describeReceipt(receipt)}`,
    ),
    '',
    `  mirror for containerd  ${places.mirrorUrl}`,
    `  state                  ${places.state}`,
    ...next,
  ].join('\n');
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
