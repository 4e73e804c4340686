import {
  type Axis,
  axisTitle,
  INK,
  isOurs,
  labelsOf,
  OTHER_COLOR,
  OUR_COLOR,
  plain,
  type Sampled,
  toSvg,
  wrap,
} from './plot.ts';

export interface BarsPlot {
  readonly title: string;
  readonly axis: Axis;
  readonly series: readonly Sampled[];
}

const NAME_CHARACTERS = 32;
const LINE_HEIGHT = 15;
const ROW_PADDING = 16;
const BAR_HEIGHT = 22;
/** Of so many samples each has its tick; of more, some that are spread evenly over their order, with the least and the most. */
const MAX_TICKS = 200;
const SPACE_FOR_FIGURE = 1.12;

/** Horizontal bars from zero to the median of each series, with its samples as ticks upon a line from the least to the most. */
export async function bars({ title, axis, series }: BarsPlot): Promise<string> {
  const names = series.map(({ name }) => wrap(plain(name), NAME_CHARACTERS));
  const rows = series.map(({ name, values }, index) => {
    const sorted = values.filter(Number.isFinite).toSorted((a, b) => a - b);
    return {
      series: index,
      color: isOurs(name) ? OUR_COLOR : OTHER_COLOR,
      median: medianOf(sorted),
      least: sorted[0],
      most: sorted.at(-1),
      ticks: thinned(sorted),
    };
  });
  const measured = rows.filter(({ ticks }) => ticks.length > 0);
  const most = Math.max(0, ...measured.map((row) => row.most ?? 0));
  const lines = Math.max(1, ...names.map((name) => name.length));
  const y = {
    field: 'series',
    type: 'nominal',
    sort: null,
    scale: { domain: names.map((_, index) => index) },
    axis: {
      title: null,
      domain: false,
      ticks: false,
      grid: false,
      labelExpr: labelsOf(names),
      labelLimit: 0,
      labelPadding: 8,
    },
  };
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title: axisTitle(axis),
    axis: { tickCount: 6 },
    scale: { domain: [0, most > 0 ? most * SPACE_FOR_FIGURE : 1], nice: false, clamp: true },
  });
  return await toSvg(title, {
    height: { step: Math.max(BAR_HEIGHT, lines * LINE_HEIGHT) + ROW_PADDING },
    encoding: { y },
    layer: [
      {
        data: { values: measured },
        mark: { type: 'bar', height: BAR_HEIGHT },
        encoding: { x: x('median'), color: { field: 'color', type: 'nominal', scale: null } },
      },
      {
        data: { values: measured },
        mark: { type: 'rule', color: INK, opacity: 0.6 },
        encoding: { x: x('least'), x2: { field: 'most' } },
      },
      {
        data: { values: measured.flatMap(({ series, ticks }) => ticks.map((value) => ({ series, value }))) },
        mark: { type: 'tick', color: INK, opacity: 0.5, size: BAR_HEIGHT - 4, thickness: 1 },
        encoding: { x: x('value') },
      },
      {
        data: { values: measured.map((row) => ({ ...row, figure: format(row.median) })) },
        mark: { type: 'text', align: 'left', dx: 7, fontSize: 12, color: INK },
        encoding: { x: x('most'), text: { field: 'figure', type: 'nominal' } },
      },
    ],
  });
}

function medianOf(sorted: readonly number[]): number {
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

function thinned(sorted: readonly number[]): readonly number[] {
  if (sorted.length <= MAX_TICKS) return sorted;
  const step = (sorted.length - 1) / (MAX_TICKS - 1);
  return Array.from({ length: MAX_TICKS }, (_, index) => sorted[Math.round(index * step)] ?? 0);
}

/** Three digits, and no fewer than there are before the point. */
function format(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 0.001))));
  return value.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ',');
}
