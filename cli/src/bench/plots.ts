import type { FleetResult, HostSample } from './result.ts';

const SECOND_MS = 1_000;
const MEBIBYTE = 2 ** 20;
/** More bars are not to be told apart. */
const MOST_BARS = 40;

/** By the names of their files: times, their distribution, and bytes by where they came from. */
export async function plotsOf({ name, title, series }: FleetResult): Promise<ReadonlyMap<string, string>> {
  const samples = series.flatMap((one) => one.samples);
  if (samples.length === 0) return new Map();
  // It is large, and who has nothing to draw does without it.
  const { bars, distribution } = await import('@drakkar/plots');
  const seconds = (of: readonly HostSample[]) => of.map(({ wallMs }) => wallMs / SECOND_MS);
  const mebibytes = (bytes: (sample: HostSample) => number) => samples.map((each) => bytes(each) / MEBIBYTE);
  const time = { title: 'time', unit: 's' };
  const rounds = Map.groupBy(samples, ({ round }) => round);
  return new Map([
    [
      `${name}.svg`,
      await bars({
        title,
        axis: time,
        series:
          series.length <= MOST_BARS
            ? series.map((one) => ({ name: one.name, values: seconds(one.samples) }))
            : [{ name: 'all hosts', values: seconds(samples) }],
      }),
    ],
    [
      `${name}-distribution.svg`,
      await distribution({
        title: `${title}: when they were done`,
        axis: time,
        series: [...rounds].map(([round, of]) => ({ name: `round ${round + 1}`, values: seconds(of) })),
      }),
    ],
    [
      `${name}-bytes.svg`,
      await bars({
        title: `${title}: where each host had it from`,
        axis: { title: 'of each host', unit: 'MiB' },
        series: [
          { name: 'registries', values: mebibytes(({ upstreamBytes }) => upstreamBytes) },
          { name: 'other hosts', values: mebibytes(({ peerBytes }) => peerBytes) },
          { name: 'here before', values: mebibytes(({ hereBytes }) => hereBytes) },
        ],
      }),
    ],
  ]);
}
