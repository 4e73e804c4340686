import { formatDuration } from '../output/format.ts';
import { describeReceipt } from '../output/receipt.ts';
import { drawStretches, stretches } from '../output/timeline.ts';
import type { RunReport } from './run-image.ts';

const BAR_WIDTH = 40;

/** The timeline of a start in words and bars. */
export function describeRun(report: RunReport): string {
  const untilOutput = report.marks.filter(({ name }) => name !== 'ended');
  const totalMs = untilOutput.at(-1)?.atMs ?? 0;
  const last = untilOutput.at(-1)?.name === 'first-output' ? 'to the first output' : 'to the start';
  return [
    `\n${report.image}: ${formatDuration(totalMs)} ${last}`,
    drawStretches(stretches(untilOutput), totalMs, BAR_WIDTH),
    `  read: ${describeReceipt(report.receipt)}`,
  ].join('\n');
}
