import { median } from './samples.ts';

/** What of a result is compared. */
export interface Measured {
  readonly name: string;
  /** Of a smaller input: it is compared with its like only. */
  readonly isQuick?: boolean;
  /** What is not ours and was measured beside; see {@link baselinesOf}. */
  readonly baseline?: string | undefined;
  readonly series: readonly {
    readonly name: string;
    readonly samples: readonly { readonly wallMs: number }[];
  }[];
}

export interface Difference {
  readonly result: string;
  readonly series: string;
  /** The median now over the one before, each against what it was measured beside. */
  readonly ratio: number;
  /** `same` where both may have been measured of the same. */
  readonly verdict: 'better' | 'worse' | 'same';
}

/** Of what is not ours, at least: of fewer samples a median says nothing of the machine. */
const LEAST_SAMPLES = 3;
/** How sure it is that the median lies in between. */
const CONFIDENCE = 0.95;

/**
 * What got better or worse from one run of a benchmark to another. Machines differ, and one differs from day to day: times are taken against those of what is not
 * ours, in the same run, where there is any. Two medians differ where the intervals do not meet in which they lie by the order of their samples.
 */
export function compare(before: Measured, now: Measured): Difference[] {
  if ((before.isQuick ?? false) !== (now.isQuick ?? false)) return [];
  const [unitBefore, unitNow] = [unitOf(before, now), unitOf(now, before)];
  return now.series.flatMap(({ name, samples }) => {
    const earlier = before.series.find((series) => series.name === name);
    if (earlier === undefined || earlier.samples.length === 0 || samples.length === 0) return [];
    const was = earlier.samples.map(({ wallMs }) => wallMs / unitBefore);
    const is = samples.map(({ wallMs }) => wallMs / unitNow);
    return [{ result: now.name, series: name, ratio: median(is) / median(was), verdict: verdictOf(was, is) }];
  });
}

/** The series that others are set against: the one that a result names, or those that are not ours where some are. */
export function baselinesOf<Series extends { readonly name: string }>({
  series,
  baseline,
}: {
  readonly series: readonly Series[];
  readonly baseline?: string | undefined;
}): Series[] {
  const isOurs = ({ name }: Series) => name.startsWith('drakkar');
  if (baseline !== undefined) return series.filter(({ name }) => name === baseline);
  return series.some(isOurs) ? series.filter((each) => !isOurs(each)) : [];
}

/** The median of the first baseline of both runs; 1 where there is none. */
function unitOf(run: Measured, other: Measured): number {
  const unitsOf = (of: Measured) => baselinesOf(of).filter(({ samples }) => samples.length >= LEAST_SAMPLES);
  const names = new Set(unitsOf(other).map(({ name }) => name));
  const found = unitsOf(run).find(({ name }) => names.has(name));
  return found === undefined ? 1 : median(found.samples.map(({ wallMs }) => wallMs));
}

function verdictOf(was: readonly number[], is: readonly number[]): Difference['verdict'] {
  const [before, now] = [intervalOf(was), intervalOf(is)];
  if (now.most < before.least) return 'better';
  return now.least > before.most ? 'worse' : 'same';
}

/** Where the median is, whatever the samples are spread like: between two of them, in their order. Of few, between the least and the most. */
export function intervalOf(values: readonly number[]): { readonly least: number; readonly most: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  let outside = 0;
  let term = 0.5 ** count;
  let first = 0;
  // So many samples that lie below the median by chance are still likely.
  for (let below = 0; below < count / 2; below += 1) {
    outside += 2 * term;
    if (outside > 1 - CONFIDENCE) break;
    first = below + 1;
    term *= (count - below) / (below + 1);
  }
  const at = Math.max(0, first - 1);
  return { least: sorted[at] ?? Number.NaN, most: sorted[count - 1 - at] ?? Number.NaN };
}

export function describeDifference({ result, series, ratio, verdict }: Difference): string {
  const sign = { better: '↓', worse: '↑', same: '=' }[verdict];
  return `${sign} ${result}, ${series}: ${ratio.toFixed(2)} × of before${verdict === 'same' ? ', which may be chance' : ''}`;
}
