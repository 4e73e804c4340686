import type { Mark } from '@drakkar/client';
import { formatDuration } from './format.ts';

/** A stretch of a timeline with the name of what it was spent on. */
export interface Stretch {
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
}

const SPENT_ON: Readonly<Record<Mark['name'], string>> = {
  resolved: 'resolve the tag',
  'snapshot-found': 'find the snapshot',
  'snapshot-built': 'build the snapshot',
  'meta-ready': 'fetch meta and devices',
  mounted: 'mount',
  'container-created': 'create the container',
  'first-output': 'run to first output',
  ended: 'run to the end',
};

/** From moments to the stretches between them. */
export function stretches(marks: readonly Mark[]): Stretch[] {
  let fromMs = 0;
  return marks.map(({ name, atMs }) => {
    const stretch = { name: SPENT_ON[name], fromMs, toMs: atMs };
    fromMs = atMs;
    return stretch;
  });
}

const SHADES = ['█', '▓', '▒', '░'];

/**
 * Stretches as a bar a line below each other, each standing where it took place: `width` columns are `totalMs`. Bars of
 * several timelines with one `totalMs` can be compared.
 */
export function drawStretches(list: readonly Stretch[], totalMs: number, width: number): string {
  const column = (ms: number) => Math.round((ms / Math.max(totalMs, 1)) * width);
  const nameWidth = Math.max(...list.map(({ name }) => name.length));
  return list
    .map(({ name, fromMs, toMs }) => {
      const from = Math.min(column(fromMs), width - 1);
      const length = Math.max(1, column(toMs) - from);
      const bar = (' '.repeat(from) + SHADES[0]?.repeat(length)).padEnd(width);
      return `  ${name.padEnd(nameWidth)}  ${bar}  ${formatDuration(toMs - fromMs)}`;
    })
    .join('\n');
}

/** One timeline in one line: its stretches in alternating shades. */
export function drawBar(list: readonly Stretch[], totalMs: number, width: number): string {
  let drawn = 0;
  return list
    .map(({ toMs }, index) => {
      const end = Math.round((toMs / Math.max(totalMs, 1)) * width);
      const part = (SHADES[index % SHADES.length] ?? '█').repeat(Math.max(0, end - drawn));
      drawn = Math.max(drawn, end);
      return part;
    })
    .join('');
}
