/**
 * Benchmarks: programs with a name, an input, raw results and a plot. `npm run bench -- NAME` runs one.
 *
 * - `scenarios/` what is measured, each contender in turn
 * - `runner/`    samples, processes, results and their plots
 * - `comparisons/` what others use instead, and how to add more of it
 * - `fleet/`     hosts, registries and links of a benchmark, in network namespaces
 * - `simulator/` swarms without hosts, sockets and clocks
 * - `profile/`   flame graphs of hot paths
 * - `chaos/`     kills everything while others read
 *
 * @packageDocumentation
 */
export {
  type ComparedImage,
  type Contender,
  type Host,
  type Prepared,
  type Site,
  Unavailable,
} from './comparisons/contender.ts';
export { all, atLeast, atMost, type Claim, type Plot, type Result } from './runner/results.ts';
export { median, ratio, type Sample, type Series, takeSamples } from './runner/samples.ts';
export type { Scenario, ScenarioOptions } from './scenario.ts';
