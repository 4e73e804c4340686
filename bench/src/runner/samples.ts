/** One measured run of one contender. */
export interface Sample {
  readonly wallMs: number;
  /** User and system time of everything that did the work; absent where it was not measured. */
  readonly cpuMs?: number;
  readonly peakRssBytes?: number;
  /** What came to the host meanwhile. */
  readonly moved?: Moved;
}

/** Bytes that came to a host. */
export interface Moved {
  /** Over its link, headers included. */
  readonly linkBytes: number;
  /** Of blobs, as the daemon counts them: from the registry, and from other hosts. */
  readonly upstreamBytes?: number;
  readonly peerBytes?: number;
}

export interface Contender {
  readonly name: string;
  /** Runs once, from nothing, and says what it took. */
  measure(round: number): Promise<Sample>;
}

export interface Series {
  readonly name: string;
  readonly samples: readonly Sample[];
}

/** Runs the contenders in turn, round after round, so that a drift of the machine's speed hits all of them. */
export async function takeSamples(
  contenders: readonly Contender[],
  rounds: number,
  onSample: (name: string, round: number, sample: Sample) => void,
): Promise<Series[]> {
  const series = contenders.map(({ name }) => ({ name, samples: [] as Sample[] }));
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, contender] of contenders.entries()) {
      const sample = await contender.measure(round);
      series[index]?.samples.push(sample);
      onSample(contender.name, round, sample);
    }
  }
  return series;
}

/** The middle value; the mean of the two middle ones of an even number. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** How many milliseconds something takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** What so large a share of the values does not pass. NaN of none. @param share 0 … 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** The median of `one` over that of `other`, by one figure of their samples. */
export function ratio(one: Series, other: Series, figure: (sample: Sample) => number | undefined): number {
  const values = (series: Series) => series.samples.map(figure).filter((value) => value !== undefined);
  return median(values(one)) / median(values(other));
}

/** The median of a figure of one series, by its name. NaN where nothing was measured. */
export function medianOf(
  series: readonly Series[],
  name: string,
  figure: (sample: Sample) => number | undefined,
): number {
  const samples = series.find((candidate) => candidate.name === name)?.samples ?? [];
  return median(samples.map(figure).filter((value) => value !== undefined));
}
