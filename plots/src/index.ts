/**
 * Plots of what was measured: pure functions from data to an SVG document. The same data gives the same bytes, so that a plot
 * that is kept changes only when its data does. Each is 720 pixels wide, on white, as GitHub shows it in a README.
 *
 * Drawn by Vega-Lite, in this process, with neither a browser nor a canvas. It takes a moment to load: whoever may not need a
 * plot imports this package when one is due.
 *
 * @example
 * ```ts
 * const svg = await bars({
 *   title: 'Cold start',
 *   axis: { title: 'time', unit: 'ms' },
 *   series: [
 *     { name: 'containerd', values: [2950, 3010, 2990] },
 *     { name: 'drakkar', values: [241, 237, 236] },
 *   ],
 * });
 * ```
 *
 * @packageDocumentation
 */
export { type BarsPlot, bars } from './bars.ts';
export { type DistributionPlot, distribution } from './distribution.ts';
export { type LineSeries, type LinesPlot, lines } from './lines.ts';
export type { Axis, Sampled } from './plot.ts';
