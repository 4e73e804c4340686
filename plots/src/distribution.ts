import { type Axis, HEIGHT, isShown, lineEncoding, position, type Sampled, toSvg } from './plot.ts';

export interface DistributionPlot {
  readonly title: string;
  /** Of the values. */
  readonly axis: Axis;
  readonly series: readonly Sampled[];
  /** A value to be reached, as a dashed line. */
  readonly target?: { readonly name: string; readonly value: number };
}

/** More are not to be told apart at this width. */
const MAX_STEPS = 500;

/** Which share of the values is at or below each: the empirical distribution function of every series. */
export async function distribution({ title, axis, series, target }: DistributionPlot): Promise<string> {
  const rows = series.flatMap(({ values }, index) =>
    steps(values.filter((value) => isShown(value, axis))).map((step) => ({ series: index, ...step })),
  );
  const targets = target === undefined || !isShown(target.value, axis) ? [] : [target];
  const marks = targets.flatMap(({ value }) =>
    [0, 100].map((share) => ({ series: series.length, value, share })),
  );
  const all = [...rows, ...marks];
  const y = { field: 'share', type: 'quantitative', title: 'share of all (%)', scale: { domain: [0, 100] } };
  return await toSvg(title, {
    height: HEIGHT,
    data: { values: all },
    mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2 },
    encoding: {
      x: position(
        'value',
        axis,
        all.map(({ value }) => value),
      ),
      y,
      ...lineEncoding(
        series.map(({ name }) => name),
        targets.map(({ name }) => name),
      ),
    },
  });
}

/** From nothing at the least value to all at the most. */
function steps(values: readonly number[]): { value: number; share: number }[] {
  const sorted = values.toSorted((a, b) => a - b);
  const [first] = sorted;
  if (first === undefined) return [];
  const count = Math.min(sorted.length, MAX_STEPS);
  const at = Array.from({ length: count }, (_, index) => {
    const rank = Math.ceil(((index + 1) * sorted.length) / count);
    return { value: sorted[rank - 1] ?? first, share: (100 * rank) / sorted.length };
  });
  return [{ value: first, share: 0 }, ...at];
}
