import { median } from './samples.ts';

/** Something at a moment. */
export interface Reading {
  readonly atMs: number;
  readonly value: number;
}

/**
 * By how much a figure grows in a millisecond: the median of the slopes of all pairs of readings, which three of ten that are off do not change much. NaN of fewer than two.
 * Source: Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
 */
export function slopeOf(readings: readonly Reading[]): number {
  return median(
    readings.flatMap((one, index) =>
      readings
        .slice(index + 1)
        .filter(({ atMs }) => atMs !== one.atMs)
        .map(({ atMs, value }) => (value - one.value) / (atMs - one.atMs)),
    ),
  );
}

/** How much a figure grows over the second half of its readings, against its median there: what is filled at the beginning does not count. */
export function lateGrowth(readings: readonly Reading[]): number {
  const late = readings.slice(Math.floor(readings.length / 2));
  const [first, last] = [late[0], late.at(-1)];
  if (first === undefined || last === undefined) return Number.NaN;
  const level = median(late.map(({ value }) => value));
  const grown = slopeOf(late) * (last.atMs - first.atMs);
  return grown === 0 ? 0 : grown / level;
}
