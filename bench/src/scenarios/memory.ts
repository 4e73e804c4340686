import { randomFillSync } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import {
  imageOf,
  layerOfFile,
  padded,
  pushImage,
  type Registry,
  startRegistry,
  tarHeader,
} from '@drakkar/lab';
import { Digester } from '@drakkar/protocol';
import { digestOfFile } from '../runner/file-digest.ts';
import { startBenchMachine } from '../runner/machine.ts';
import { cpuMsOf, peakRssWhile } from '../runner/process.ts';
import { atMost, type Result } from '../runner/results.ts';
import { type Sample, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const MEBIBYTE = 1024 * 1024;

/** Raw bytes of the one layer of each image. */
const LAYERS = [100 * MEBIBYTE, 4096 * MEBIBYTE];
const FILE_BYTES = 64 * MEBIBYTE;

const METHOD =
  'Each build is by a new daemon from a registry on loopback. Resident memory of the daemon and its builder is looked at every 20 ms, and the most of it counts.';

/** What a build takes at its worst: layers of 100 MB and of 4 GB must not differ. */
export const memory: Scenario = async ({ rounds, isQuick, onSample }) => {
  await using registry = await startRegistry();
  const sizes = isQuick ? LAYERS.slice(0, 1) : LAYERS;
  const contenders = [];
  for (const sizeBytes of sizes) {
    const reference = await pushLayer(registry, sizeBytes);
    contenders.push({
      name: `drakkar build, ${sizeBytes / MEBIBYTE} MiB layer`,
      measure: () => measureBuild(reference),
    });
  }
  // Memory varies little and the large layer takes long: three rounds say enough.
  const series = await takeSamples(contenders, Math.min(rounds, 3), onSample);
  const result: Result = {
    name: 'memory',
    title: 'Builds of one large layer',
    method: METHOD,
    series,
    input: { layerBytes: sizes, fileBytes: FILE_BYTES },
    claims: series.map(({ name, samples }) => {
      const peak = Math.max(...samples.map(({ peakRssBytes }) => peakRssBytes ?? Number.NaN));
      return atMost(`${name}: peak RSS of daemon and builder`, peak / MEBIBYTE, 'MiB', 384);
    }),
  };
  return [result];
};

async function measureBuild(reference: string): Promise<Sample> {
  await using machine = await startBenchMachine();
  const startedMs = performance.now();
  const { peakRssBytes } = await peakRssWhile(machine.daemonPid, () =>
    machine.client.buildSnapshot({ image: reference }),
  );
  return { wallMs: performance.now() - startedMs, cpuMs: await cpuMsOf(machine.daemonPid), peakRssBytes };
}

/** An image with one gzip layer of unlike files whose bytes are half random, half repeated. */
async function pushLayer(registry: Registry, sizeBytes: number): Promise<string> {
  const directory = await mkdtemp('/var/tmp/drakkar-bench-layer-');
  try {
    const path = join(directory, 'layer.tar.gz');
    const diff = new Digester();
    async function* observed() {
      for await (const part of tarOfFiles(sizeBytes)) {
        diff.update(part);
        yield part;
      }
    }
    await pipeline(observed, createGzip({ level: 1 }), createWriteStream(path));
    const layer = layerOfFile({ path, ...(await digestOfFile(path)), diffId: diff.digest() });
    const repository = `bench/layer-${sizeBytes / MEBIBYTE}`;
    await pushImage(registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
    return `${registry.host}/${repository}:latest`;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function* tarOfFiles(sizeBytes: number): AsyncGenerator<Buffer> {
  const part = Buffer.alloc(MEBIBYTE);
  for (let written = 0, file = 0; written < sizeBytes; written += FILE_BYTES, file += 1) {
    yield tarHeader({ name: `file-${file}`, size: FILE_BYTES });
    for (let offset = 0; offset < FILE_BYTES; offset += part.length) {
      randomFillSync(part, 0, part.length / 2);
      yield Buffer.from(part);
    }
  }
  yield padded(Buffer.alloc(1024));
}
