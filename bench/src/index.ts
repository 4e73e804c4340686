/**
 * Benchmarks: programs with a name, an input, raw results and a plot. `npm run bench -- NAME` runs one.
 *
 * - `scenarios/` what is measured, each contender in turn
 * - `runner/`    samples, processes, results
 * - `plots/`     SVG
 *
 * @packageDocumentation
 */
export { drawBars } from './plots/bars.ts';
export { atLeast, atMost, type Claim, type Result } from './runner/results.ts';
export { median, ratio, type Sample, type Series, takeSamples } from './runner/samples.ts';
export type { Scenario, ScenarioOptions } from './scenario.ts';
