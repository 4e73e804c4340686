import { type Axis, HEIGHT, isShown, lineEncoding, looksOf, position, toSvg } from './plot.ts';

export interface LineSeries {
  /** Ours where it begins with `drakkar`. */
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface LinesPlot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly LineSeries[];
  /** What is to be reached, or would be at best: dashed lines, straight from point to point. */
  readonly targets?: readonly LineSeries[];
}

/** How something grows: a line for each series, with a point at each measurement. */
export async function lines({ title, x, y, series, targets = [] }: LinesPlot): Promise<string> {
  const rows = [...series, ...targets].flatMap(({ points }, index) =>
    points
      .filter((point) => isShown(point.x, x) && isShown(point.y, y))
      .map((point) => ({ series: index, x: point.x, y: point.y })),
  );
  const looks = looksOf(series.map(({ name }) => name));
  const names = (some: readonly LineSeries[]) => some.map(({ name }) => name);
  return await toSvg(title, {
    height: HEIGHT,
    encoding: {
      x: position(
        'x',
        x,
        rows.map((row) => row.x),
      ),
      y: position(
        'y',
        y,
        rows.map((row) => row.y),
      ),
    },
    layer: [
      {
        data: { values: rows },
        mark: { type: 'line', strokeWidth: 2 },
        encoding: lineEncoding(names(series), names(targets)),
      },
      ...series.map((_, index) => ({
        data: { values: rows.filter((row) => row.series === index) },
        mark: { type: 'point', filled: true, opacity: 1, size: 36, color: looks[index]?.color },
      })),
    ],
  });
}
