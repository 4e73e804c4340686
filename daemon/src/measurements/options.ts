/** What a host lets others measure. */
export interface MeasurementOptions {
  /** Whether anybody may. */
  readonly allowed: boolean;
  /** That one measurement may bring, at most. */
  readonly mostBytes: number;
  /** How long one may take, and what it brought may stay for others to have, at most. */
  readonly withinMs: number;
}

export const MEASUREMENT_DEFAULTS: MeasurementOptions = {
  allowed: false,
  mostBytes: 10 * 2 ** 30,
  withinMs: 10 * 60_000,
};
