import {
  imageOf,
  layerOf,
  pushImage,
  type Registry,
  startContainerd,
  startRegistry,
  tarArchive,
} from '@drakkar/lab';
import { ctrRun } from '../runner/containerd.ts';
import { firstOutput } from '../runner/first-output.ts';
import { pushDebian } from '../runner/images.ts';
import { type BenchMachine, startBenchMachine } from '../runner/machine.ts';
import { atMost, type Result } from '../runner/results.ts';
import { median, ratio, takeSamples } from '../runner/samples.ts';
import type { Scenario, ScenarioOptions } from '../scenario.ts';

const MIN_ROUNDS = 10;

const START_METHOD =
  'The image is pulled and unpacked, and its snapshot built, before; the first runs are counted as well. Neither container has a network.';
const MOUNT_METHOD =
  'The snapshots are built before, on the same host. A mount is measured by who asks the daemon for it.';

/** A start from what is local, against `ctr run` on an unpacked overlayfs; and how long a mount takes. */
export const start: Scenario = async (options) => {
  await using registry = await startRegistry();
  await using machine = await startBenchMachine();
  return [await measureStart(registry, machine, options), await measureMount(registry, machine, options)];
};

async function measureStart(
  registry: Registry,
  machine: BenchMachine,
  options: ScenarioOptions,
): Promise<Result> {
  const command = ['python3', '-c', 'print("ready", flush=True)'];
  const image = await pushDebian(registry, ['python3'], command);
  await using containerd = await startContainerd();
  await containerd.pull(image.reference);
  await machine.client.buildSnapshot({ image: image.reference });
  const series = await takeSamples(
    [
      {
        name: 'ctr run, overlayfs',
        measure: async () => ({ wallMs: await firstOutput(ctrRun(containerd, image.reference)) }),
      },
      {
        name: 'drakkar run',
        measure: async () => ({
          wallMs: await firstOutput(machine.command(['run', '--net', 'none', image.reference])),
        }),
      },
    ],
    options.isQuick ? options.rounds : Math.max(options.rounds, MIN_ROUNDS),
    options.onSample,
  );
  const [ctr, drakkar] = series;
  if (ctr === undefined || drakkar === undefined) throw new Error('two contenders make two series');
  return {
    name: 'start',
    title: 'Warm start to the first output: Debian with python3',
    method: START_METHOD,
    series,
    input: { ...image },
    claims: [
      atMost(
        'start, against ctr run',
        ratio(drakkar, ctr, ({ wallMs }) => wallMs),
        '×',
        1.2,
      ),
    ],
  };
}

const FILE_COUNTS = [1_000, 100_000];

async function measureMount(
  registry: Registry,
  machine: BenchMachine,
  options: ScenarioOptions,
): Promise<Result> {
  const counts = options.isQuick ? FILE_COUNTS.slice(0, 1) : FILE_COUNTS;
  const references = [];
  for (const count of counts) references.push(await pushFiles(registry, count));
  for (const image of references) await machine.client.buildSnapshot({ image });
  const series = await takeSamples(
    references.map((image, index) => ({
      name: `drakkar mount, ${counts[index]} files`,
      measure: async () => {
        const startedMs = performance.now();
        await machine.client.mountSnapshot(image);
        const wallMs = performance.now() - startedMs;
        await machine.client.umountSnapshot(image);
        return { wallMs };
      },
    })),
    options.isQuick ? options.rounds : Math.max(options.rounds, MIN_ROUNDS),
    options.onSample,
  );
  return {
    name: 'mount',
    title: 'Mount of a local snapshot',
    method: MOUNT_METHOD,
    series,
    input: { fileCounts: counts },
    claims: series.map(({ name, samples }) =>
      atMost(name, median(samples.map(({ wallMs }) => wallMs)), 'ms', 50),
    ),
  };
}

async function pushFiles(registry: Registry, count: number): Promise<string> {
  const entries = Array.from({ length: count }, (_, index) => ({
    name: `d${Math.floor(index / 500)}/file-${index}`,
    data: `file ${index}\n`,
  }));
  const image = imageOf({ layers: [layerOf(tarArchive(entries))] });
  await pushImage(registry.url, image, { repository: `bench/files-${count}`, tag: 'latest' });
  return `${registry.host}/bench/files-${count}:latest`;
}
