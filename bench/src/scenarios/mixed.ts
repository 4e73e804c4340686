import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { layerOf } from '@drakkar/lab';
import { type Fleet, startFleet } from '../fleet/fleet.ts';
import { upstreamBytesOf } from '../fleet/moved.ts';
import { linkMs } from '../fleet/network.ts';
import { requireAllRight } from '../fleet/right.ts';
import { untilJoined } from '../fleet/until.ts';
import { chance, pick, zipf } from '../runner/chance.ts';
import { pushLayers } from '../runner/images.ts';
import { atMost } from '../runner/results.ts';
import { quantile, type Sample, timed } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const MEBIBYTE = 1024 ** 2;
const FULL = { images: 10, hosts: 16, rate: 50e6, pulls: 4, overMs: 60_000, imageBytes: 40 * MEBIBYTE };
const QUICK = { images: 4, hosts: 4, rate: 100e6, pulls: 3, overMs: 3_000, imageBytes: 2 * MEBIBYTE };
const MAX_ROUNDS = 3;

const METHOD = [
  'Each host pulls some images, one after another, which it begins at moments of its own spread evenly over a minute; those that it has it asks for as well.',
  'Which ones: by Zipf’s law, the most popular ten times as often as the tenth. The sizes lie between half and one and a half of the mean. All images are new to everyone in every round.',
  'A pull is taken against the time that its image’s bytes take over the host’s link; a pull of what a host has already is not counted.',
].join(' ');

interface Plan {
  readonly atMs: number;
  readonly image: number;
}

/** Many images to many hosts, some wanted more than others. */
export const mixed: Scenario = async ({ rounds, isQuick, onSample }) => {
  const input = isQuick ? QUICK : FULL;
  await using fleet = await startFleet({ hosts: input.hosts, rate: input.rate, namespaces: true });
  await untilJoined(fleet);
  const samples: Sample[] = [];
  const against: number[] = [];
  const upstream: number[] = [];
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1) {
    const run = await runOnce(fleet, input, round);
    for (const { wallMs, idealMs } of run.pulls) {
      samples.push({ wallMs });
      against.push(wallMs / idealMs);
    }
    upstream.push(run.upstream);
    onSample('pulls, p99', round, {
      wallMs: quantile(
        run.pulls.map(({ wallMs }) => wallMs),
        0.99,
      ),
    });
  }
  return [
    {
      name: 'mixed',
      title: `${input.images} images to ${input.hosts} hosts, some wanted more than others`,
      method: METHOD,
      series: [{ name: 'drakkar, pulls', samples }],
      input: { ...input, against, upstream },
      claims: [
        atMost('mixed images: pulls, p50, against size ÷ link rate', quantile(against, 0.5), '×', 1.5),
        atMost('mixed images: pulls, p99, against size ÷ link rate', quantile(against, 0.99), '×', 3),
        atMost(
          'mixed images: bytes that the registry gave, against those of all images that somebody wanted',
          Math.max(...upstream),
          '×',
          1.02,
        ),
      ],
    },
  ];
};

async function runOnce(fleet: Fleet, input: typeof FULL, round: number) {
  const random = chance(`mixed ${round}`);
  const images = await pushAll(fleet, input, random, round);
  const shares = zipf(input.images);
  const plans = fleet.hosts.map(() =>
    Array.from(
      { length: input.pulls },
      (): Plan => ({ atMs: random() * input.overMs, image: pick(shares, random()) }),
    ).sort((one, other) => one.atMs - other.atMs),
  );
  const before = await upstreamBytesOf(fleet);
  const beganMs = performance.now();
  const pulls = await Promise.all(
    fleet.hosts.map(async (host, index) => {
      const measured: { readonly wallMs: number; readonly idealMs: number }[] = [];
      const here = new Set<number>();
      for (const { atMs, image } of plans[index] ?? []) {
        await sleep(Math.max(0, beganMs + atMs - performance.now()));
        const wanted = images[image];
        if (wanted === undefined) throw new RangeError(`there is no image ${image}`);
        const wallMs = await timed(() => host.client.pull({ image: wanted.reference }));
        if (!here.has(image)) measured.push({ wallMs, idealMs: linkMs(wanted.sizeBytes, input.rate) });
        here.add(image);
      }
      await requireAllRight(
        [host],
        [...here].flatMap((image) => images[image]?.digest ?? []),
      );
      return measured;
    }),
  );
  const wanted = new Set(plans.flat().map(({ image }) => image));
  const wantedBytes = [...wanted].reduce((sum, image) => sum + (images[image]?.sizeBytes ?? 0), 0);
  return { pulls: pulls.flat(), upstream: ((await upstreamBytesOf(fleet)) - before) / wantedBytes };
}

async function pushAll({ registry }: Fleet, input: typeof FULL, random: () => number, round: number) {
  const images = [];
  for (let index = 0; index < input.images; index += 1) {
    const content = randomBytes(Math.round(input.imageBytes * (0.5 + random())));
    const layer = layerOf(content, { compression: 'none' });
    const repository = `bench/mixed-${round}-${index}`;
    const pushed = await pushLayers(registry, [layer], { repository, tag: 'latest' });
    images.push({ ...pushed, digest: layer.digest });
  }
  return images;
}
