import { formatBytes, formatDuration } from '../output/format.ts';
import { drawStretches, stretches } from '../output/timeline.ts';
import type { RunReport } from './run-image.ts';

const BAR_WIDTH = 40;

/** The timeline of a start in words and bars. */
export function describeRun(report: RunReport): string {
  const untilOutput = report.marks.filter(({ name }) => name !== 'ended');
  const totalMs = untilOutput.at(-1)?.atMs ?? 0;
  const last = untilOutput.at(-1)?.name === 'first-output' ? 'to the first output' : 'to the start';
  const { storeBytes, upstreamBytes } = report.receipt;
  return [
    `\n${report.image}: ${formatDuration(totalMs)} ${last}`,
    drawStretches(stretches(untilOutput), totalMs, BAR_WIDTH),
    `  read: ${formatBytes(upstreamBytes)} from the registry, ${formatBytes(storeBytes)} from the store`,
  ].join('\n');
}
