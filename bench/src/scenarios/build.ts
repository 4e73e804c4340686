import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startContainerd, startRegistry } from '@drakkar/lab';
import { type BenchImage, pushDebian } from '../runner/images.ts';
import { startBenchMachine } from '../runner/machine.ts';
import { cpuMsOf, peakRssWhile } from '../runner/process.ts';
import { atMost, type Result } from '../runner/results.ts';
import { ratio, type Sample, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const IMAGES: readonly { name: string; packages: readonly string[]; command: readonly string[] }[] = [
  { name: 'python', packages: ['python3', 'python3-numpy'], command: ['python3', '-c', 'print("ready")'] },
  { name: 'node', packages: ['nodejs'], command: ['node', '-e', 'console.log("ready")'] },
];

const QUICK_IMAGES: typeof IMAGES = [
  { name: 'python', packages: ['python3'], command: ['python3', '-c', 'print("ready")'] },
];

const METHOD =
  'Each run starts a daemon, or a containerd, with nothing in its store, and ends when the snapshot or the unpacked image is ready; the registry is on loopback. What was written before is on the disk. Nothing warms up.';

const MEBIBYTE = 1024 * 1024;

/** Registry → snapshot ready, against containerd's pull and unpack of the same image. Each run starts from nothing. */
export const build: Scenario = async ({ rounds, isQuick, onSample }) => {
  await using registry = await startRegistry();
  // What a run leaves is removed at the very end: freeing tens of thousands of files slows down whoever writes next.
  await using kept = new AsyncDisposableStack();
  const results: Result[] = [];
  for (const { name, packages, command } of isQuick ? QUICK_IMAGES : IMAGES) {
    const image = await pushDebian(registry, packages, command);
    let sizes = { meta: Number.NaN, all: Number.NaN };
    const series = await takeSamples(
      [
        { name: 'containerd pull + unpack', measure: () => measureContainerd(image, kept) },
        {
          name: 'drakkar snapshot build',
          measure: async () => {
            const { sample, ...measured } = await measureDrakkar(image, kept);
            sizes = measured;
            return sample;
          },
        },
      ],
      rounds,
      onSample,
    );
    const [containerd, drakkar] = series;
    if (containerd === undefined || drakkar === undefined) throw new Error('two contenders make two series');
    const peak = Math.max(...drakkar.samples.map(({ peakRssBytes }) => peakRssBytes ?? 0)) / MEBIBYTE;
    results.push({
      name: `build-${name}`,
      title: `Registry → ready: ${packages.join(', ')}, ${Math.round(image.sizeBytes / MEBIBYTE)} MiB compressed`,
      method: METHOD,
      series,
      input: { ...image },
      claims: [
        atMost(
          `${name}: wall, against pull + unpack`,
          ratio(drakkar, containerd, ({ wallMs }) => wallMs),
          '×',
          1,
        ),
        atMost(
          `${name}: CPU, against pull + unpack`,
          ratio(drakkar, containerd, ({ cpuMs }) => cpuMs),
          '×',
          1.5,
        ),
        atMost(`${name}: peak RSS of daemon and builder`, peak, 'MiB', 384),
        atMost(`${name}: meta against the image’s layers`, 100 * sizes.meta, '%', 3),
        atMost(`${name}: meta and devices against the image’s layers`, sizes.all, '×', 1.15),
      ],
    });
  }
  return results;
};

/** What the run before has left to be written must not be waited for by the next: both sync what they keep. */
async function settleDisk(): Promise<void> {
  await promisify(execFile)('sync');
}

/** CPU of containerd itself and of `ctr`, which downloads. */
async function measureContainerd(image: BenchImage, kept: AsyncDisposableStack): Promise<Sample> {
  const containerd = kept.use(await startContainerd());
  await settleDisk();
  const cpuBefore = await cpuMsOf(containerd.pid);
  const startedMs = performance.now();
  const ctr = `ctr --address ${containerd.address} --namespace bench images pull --plain-http ${image.reference}`;
  const { stdout } = await promisify(execFile)('sh', ['-c', `${ctr} >/dev/null; times`]);
  const wallMs = performance.now() - startedMs;
  return { wallMs, cpuMs: (await cpuMsOf(containerd.pid)) - cpuBefore + childTimesMs(stdout) };
}

/** The second line of the shell's `times`: user and system time of its children, as `0m1.230s 0m0.120s`. */
export function childTimesMs(text: string): number {
  const [, children = ''] = text.trim().split('\n');
  return [...children.matchAll(/([0-9]+)m([0-9.]+)s/g)].reduce(
    (total, [, minutes, seconds]) => total + (Number(minutes) * 60 + Number(seconds)) * 1000,
    0,
  );
}

async function measureDrakkar(
  image: BenchImage,
  kept: AsyncDisposableStack,
): Promise<{ sample: Sample; meta: number; all: number }> {
  const machine = kept.use(await startBenchMachine());
  await settleDisk();
  const cpuBefore = await cpuMsOf(machine.daemonPid);
  const startedMs = performance.now();
  const measured = await peakRssWhile(machine.daemonPid, async () => {
    const built = await machine.client.buildSnapshot({ image: image.reference });
    return { built, wallMs: performance.now() - startedMs };
  });
  const { built, wallMs } = measured.value;
  const cpuMs = (await cpuMsOf(machine.daemonPid)) - cpuBefore;
  return {
    sample: { wallMs, cpuMs, peakRssBytes: measured.peakRssBytes },
    meta: built.metaBlobSizeBytes / built.imageSizeBytes,
    all: built.blobSizeBytes / built.imageSizeBytes,
  };
}
