import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  buildContainerd2,
  layerOf,
  noise,
  startContainerd,
  startRegistry,
  transferImage,
  writePlainHosts,
} from '@drakkar/lab';
import type { Digest } from '@drakkar/protocol';
import { pushLayers } from '../runner/images.ts';
import { startBenchMachine } from '../runner/machine.ts';
import { eachOf } from '../runner/parallel.ts';
import { cpuMsOf, peakRssWhile } from '../runner/process.ts';
import { atMost, type Result } from '../runner/results.ts';
import { ratio, type Sample, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const PULLS = 64;
const FULL = { layers: 16, layerBytes: 256 * 1024 };
const QUICK = { layers: 4, layerBytes: 32 * 1024 };
const MAX_ROUNDS = 5;
const PUSHING = 8;
const MEBIBYTE = 1024 ** 2;

const METHOD = [
  `One containerd 2 on one host is asked for ${PULLS} images at the same moment, each of its own many small layers, over loopback: of the registry, and through the daemon’s mirror; the images are new in every turn.`,
  'Hot: containerd has forgotten them, and is asked for the same once more. It compares all bytes with their digests, and afterwards must have every layer in its store; the daemon has read each byte of a layer once.',
].join(' ');

interface CrowdImage {
  readonly reference: string;
  readonly layers: readonly { readonly digest: Digest; readonly sizeBytes: number }[];
}

/** A host on which many images are wanted at once. */
export const mirrorCrowd: Scenario = async ({ rounds, isQuick, onSample }) => {
  const input = { pulls: PULLS, ...(isQuick ? QUICK : FULL) };
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-mirror-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const registry = stack.use(await startRegistry());
  const machine = stack.use(
    await startBenchMachine({ registries: { plainHttp: [registry.host], dockerConfigFile: null } }),
  );
  const containerd = stack.use(await startContainerd({ programs: await buildContainerd2() }));
  const [direct, mirrored] = [join(directory, 'direct'), join(directory, 'mirrored')];
  await writePlainHosts(direct, registry.host);
  await writePlainHosts(mirrored, registry.host, (await machine.client.status()).mirrorUrl);

  let batches = 0;
  const pushAll = async (): Promise<CrowdImage[]> => {
    batches += 1;
    const images: CrowdImage[] = [];
    await eachOf(
      Array.from({ length: PULLS }, (_, index) => index),
      PUSHING,
      async (index) => {
        const layers = Array.from({ length: input.layers }, (_, layer) =>
          layerOf(noise(input.layerBytes, `crowd ${batches} ${index} ${layer}`), { compression: 'none' }),
        );
        const repository = `bench/crowd-${batches}-${index}`;
        images.push({ ...(await pushLayers(registry, layers, { repository, tag: 'latest' })), layers });
      },
    );
    return images;
  };
  const { address, namespace } = containerd;
  const pullAll = async (images: readonly CrowdImage[], hostsDirectory: string): Promise<Sample> => {
    const startedMs = performance.now();
    await Promise.all(
      images.map(({ reference }) => transferImage({ address, namespace, reference, hostsDirectory })),
    );
    const wallMs = performance.now() - startedMs;
    const kept = new Set((await containerd.ctr(['content', 'ls', '--quiet'])).split('\n'));
    const missing = images.flatMap(({ layers }) => layers).find(({ digest }) => !kept.has(digest));
    if (missing !== undefined) throw new Error(`containerd has no ${missing.digest}`);
    return { wallMs };
  };
  const forget = (images: readonly CrowdImage[]) =>
    containerd.ctr(['images', 'rm', '--sync', ...images.map(({ reference }) => reference)]);
  const throughMirror = async (images: readonly CrowdImage[]): Promise<Sample> => {
    const cpuMs = await cpuMsOf(machine.daemonPid);
    const { value, peakRssBytes } = await peakRssWhile(machine.daemonPid, () => pullAll(images, mirrored));
    await forget(images);
    return { ...value, cpuMs: (await cpuMsOf(machine.daemonPid)) - cpuMs, peakRssBytes };
  };

  let images: CrowdImage[] = [];
  let upstream = 0;
  const upstreamBytes = async () => (await machine.client.status()).traffic.upstreamBytes;
  const series = await takeSamples(
    [
      {
        name: 'containerd, from the registry',
        async measure() {
          const fresh = await pushAll();
          const sample = await pullAll(fresh, direct);
          await forget(fresh);
          return sample;
        },
      },
      {
        name: 'drakkar mirror, cold',
        async measure() {
          images = await pushAll();
          const before = await upstreamBytes();
          const sample = await throughMirror(images);
          const sizeBytes = PULLS * input.layers * input.layerBytes;
          upstream = Math.max(upstream, ((await upstreamBytes()) - before) / sizeBytes);
          return sample;
        },
      },
      { name: 'drakkar mirror, hot', measure: () => throughMirror(images) },
    ],
    Math.min(rounds, MAX_ROUNDS),
    onSample,
  );
  const [registrySeries, cold, hot] = series;
  if (registrySeries === undefined || cold === undefined || hot === undefined)
    throw new Error('three contenders make three series');
  const peak = Math.max(
    ...[cold, hot].flatMap(({ samples }) => samples.map((each) => each.peakRssBytes ?? 0)),
  );
  const wall = ({ wallMs }: Sample) => wallMs;
  const result: Result = {
    name: 'mirror-crowd',
    title: `${PULLS} pulls at once through one mirror`,
    method: METHOD,
    series,
    input: { ...input, upstream },
    claims: [
      atMost(
        `mirror, ${PULLS} pulls at once: cold, against the registry`,
        ratio(cold, registrySeries, wall),
        '×',
        2,
      ),
      atMost(
        `mirror, ${PULLS} pulls at once: hot, against the registry`,
        ratio(hot, registrySeries, wall),
        '×',
        1.5,
      ),
      atMost(
        `mirror, ${PULLS} pulls at once: bytes that the registry gave, against the layers`,
        upstream,
        '×',
        1.02,
      ),
      atMost(`mirror, ${PULLS} pulls at once: peak RSS of the daemon`, peak / MEBIBYTE, 'MiB', 384),
    ],
  };
  return [result];
};
