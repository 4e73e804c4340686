import type { Result } from './runner/results.ts';
import type { Sample } from './runner/samples.ts';

export interface ScenarioOptions {
  /** Runs of each contender: at least 5 for a figure that is quoted. */
  readonly rounds: number;
  /** Whether it shall show that it works, in a minute: on the smallest input and with the fewest repetitions that make sense. */
  readonly isQuick: boolean;
  /** Modules of contenders that others have written, for the comparison. */
  readonly contenders?: readonly string[];
  readonly onSample: (name: string, round: number, sample: Sample) => void;
}

/** A benchmark: real parts in, results out. */
export type Scenario = (options: ScenarioOptions) => Promise<Result[]>;
