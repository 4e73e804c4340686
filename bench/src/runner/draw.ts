import { bars, distribution, lines } from '@drakkar/plots';
import type { Result } from './results.ts';

const SECOND_MS = 1_000;

/** The plots of a result by the names of their files: of its samples as bars, and those that it has itself. */
export async function drawPlots({
  name,
  title,
  series,
  plots = {},
}: Pick<Result, 'name' | 'title' | 'series' | 'plots'>): Promise<ReadonlyMap<string, string>> {
  const walls = series.map((one) => one.samples.map(({ wallMs }) => wallMs));
  const isLong = walls.flat().some((wallMs) => wallMs >= SECOND_MS);
  const drawn = new Map<string, string>();
  if (walls.flat().length > 0) {
    const svg = await bars({
      title,
      axis: { title: 'time', unit: isLong ? 's' : 'ms' },
      series: walls.map((values, index) => ({
        name: series[index]?.name ?? '',
        values: isLong ? values.map((wallMs) => wallMs / SECOND_MS) : values,
      })),
    });
    drawn.set(`${name}.svg`, svg);
  }
  for (const [suffix, plot] of Object.entries(plots)) {
    const svg = plot.kind === 'lines' ? await lines(plot) : await distribution(plot);
    drawn.set(`${name}-${suffix}.svg`, svg);
  }
  return drawn;
}
