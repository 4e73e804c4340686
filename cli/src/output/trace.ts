import type { ForeseenStart, SnapshotTrace, TracedRange } from '@drakkar/client';
import { formatAge, formatBytes, formatCount, formatTable } from './format.ts';

/** What starts read, as a table, and how well the last ones were foreseen. Pure. @param nowMs when it is shown */
export function describeTrace({ ranges, starts }: SnapshotTrace, nowMs: number = Date.now()): string {
  if (ranges.length === 0) return 'nothing is known yet of what starts of it read';
  const totalBytes = ranges.reduce((sum, { length }) => sum + length, 0);
  const rows = ranges.map((range) => [
    `${range.device}`,
    `${range.offset}`,
    `${range.length}`,
    filesOf(range),
  ]);
  return [
    formatTable(['DEVICE', 'OFFSET', 'LENGTH', 'FILES'], rows),
    '',
    `starts read ${formatBytes(totalBytes)} in ${formatCount(ranges.length, 'part')}`,
    ...starts.map((start) => hitRate(start, nowMs)),
  ].join('\n');
}

function filesOf({ paths: [first, ...others] }: TracedRange): string {
  if (first === undefined) return '';
  return others.length === 0 ? `/${first}` : `/${first} and ${formatCount(others.length, 'other')}`;
}

function hitRate({ atMs, touchedBlocks, prefetchedBlocks, hits }: ForeseenStart, nowMs: number): string {
  const share = touchedBlocks === 0 ? 1 : hits / touchedBlocks;
  return (
    `a start ${formatAge(nowMs - atMs)} ago read ${formatCount(touchedBlocks, 'block')}: ` +
    `${(100 * share).toFixed(0)} % were here before it came to them, of ${prefetchedBlocks} prefetched`
  );
}
