import { execFile } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { debianImage, imageOf, layerOf, pushImage, tarArchive } from '@drakkar/lab';
import { parseReference } from '@drakkar/protocol';
import type { FleetHost } from '../fleet/fleet.ts';
import { emptyHost, expectGiven, type SeededFleet, seedSnapshot, startSeededFleet } from '../fleet/seeded.ts';
import { LAZY_BACKENDS } from '../runner/backends.ts';
import { atLeast, atMost, type Result } from '../runner/results.ts';
import { median, quantile, type Sample, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const PACKAGES = ['default-jre-headless'];
const QUICK_PACKAGES = ['python3'];
const QUICK_BYTES = 32 * 1024 ** 2;
const REPOSITORY = 'bench/fill';
const FILE = 'big';
const READ_BYTES = 4096;
/** Every other block of 512 KiB is read, so that nobody takes the reader for a sequential one. */
const STRIDE_BYTES = 1024 ** 2;
/** Prime, and no divisor of any number of blocks that there is: it visits all of them, far from one another. */
const LEAP = 7919;

const METHOD =
  'Hosts over loopback, nothing is completed in the background. The image has one file: the uncompressed layers of a Debian image, which compress as programs do.';
const THROUGHPUT_METHOD =
  'The host has nothing, another one has all; `dd` reads the file from its start to its end. What was written before is on the disk; one turn, which is not counted, warms up the daemons.';
const ANSWER_METHOD =
  'The host has the compressed device and no block of it; 4 KiB of each second block are read, far from one another, one after the other.';

/** How quickly what is missing from a volume comes: in bulk from another host, and block by block from the local store. */
export const fill: Scenario = async ({ rounds, isQuick, onSample }) => {
  await using seeded = await startSeededFleet({
    clients: LAZY_BACKENDS.map(({ name: backend }) => ({
      native: { backend },
      volumes: { background: 'off' },
    })),
  });
  const { packages, sizeBytes, makeImage } = await imagesOf(seeded, isQuick);
  const hosts = LAZY_BACKENDS.flatMap(({ name: backend }, index) => {
    const host = seeded.clients[index];
    return host === undefined ? [] : [{ name: `drakkar, ${backend}`, host }];
  });
  const readers = hosts.map(({ name, host }) => ({
    name,
    async measure() {
      await emptyHost(host);
      const image = await makeImage();
      await flushDisks();
      return { wallMs: await inRootfs(host, image, (rootfs) => readAll(join(rootfs, FILE))) };
    },
  }));
  if (!isQuick) for (const { measure } of readers) await measure();
  const throughput = await takeSamples(readers, rounds, onSample);
  const answers = hosts.map(({ name }) => ({ name, samples: [] as Sample[] }));
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, { name, host }] of hosts.entries()) {
      await emptyHost(host);
      const image = await makeImage();
      await fetchBlobs(seeded, host, image);
      await flushDisks();
      const answerMs = await inRootfs(host, image, async (rootfs) =>
        readApart(join(rootfs, FILE), sizeBytes),
      );
      answers[index]?.samples.push(...answerMs.map((wallMs) => ({ wallMs })));
      onSample(name, round, { wallMs: median(answerMs) });
    }
  }
  const input = { packages, sizeBytes };
  const wallsOf = (samples: readonly Sample[]) => samples.map(({ wallMs }) => wallMs);
  const results: Result[] = [
    {
      name: 'fill-throughput',
      title: `A file of ${Math.round(sizeBytes / 1e6)} MB that another host has, read from a volume over loopback`,
      method: `${METHOD} ${THROUGHPUT_METHOD}`,
      series: throughput,
      input,
      claims: throughput.map(({ name, samples }) =>
        atLeast(`cold fill, ${name}`, sizeBytes / 1000 / median(wallsOf(samples)), 'MB/s', 400),
      ),
    },
    {
      name: 'fill-answer',
      title: 'From a read to its answer: a missing block whose piece is in the local store',
      method: `${METHOD} ${ANSWER_METHOD}`,
      series: answers,
      input,
      claims: answers.flatMap(({ name, samples }) => [
        atMost(`missing block, ${name}: p50`, quantile(wallsOf(samples), 0.5), 'ms', 1.5),
        atMost(`missing block, ${name}: p99`, quantile(wallsOf(samples), 0.99), 'ms', 5),
      ]),
    },
  ];
  return results;
};

export interface FileImages {
  readonly packages: readonly string[];
  /** Of the file, in the root. */
  readonly file: string;
  /** Of the file. */
  readonly sizeBytes: number;
  /** Has the seed make a snapshot of an image with the file of which nobody knows what starts read, so that nothing is fetched before it is asked for. */
  makeImage(): Promise<string>;
}

export async function imagesOf(seeded: SeededFleet, isQuick: boolean): Promise<FileImages> {
  const { registry } = seeded.fleet;
  const packages = isQuick ? QUICK_PACKAGES : PACKAGES;
  const { layers } = await debianImage({ packages });
  const parts: Buffer[] = [];
  for (const { path } of layers) parts.push(gunzipSync(await readFile(path)));
  const whole = Buffer.concat(parts);
  const data = isQuick ? whole.subarray(0, QUICK_BYTES) : whole;
  const layer = layerOf(tarArchive([{ name: FILE, data }]), { compression: 'none' });
  let images = 0;
  return {
    packages,
    file: FILE,
    sizeBytes: data.length,
    async makeImage() {
      images += 1;
      const mark = layerOf(tarArchive([{ name: 'mark', data: `${images}` }]));
      // Of another repository each, or what starts of the last one read would be known.
      const repository = `${REPOSITORY}-${images}`;
      await pushImage(registry.url, imageOf({ layers: [layer, mark] }), { repository, tag: 'latest' });
      const image = `${registry.host}/${repository}:latest`;
      // Mirrors give what registries have.
      await seedSnapshot(seeded, image, { push: true });
      return image;
    },
  };
}

export async function inRootfs<Value>(
  host: FleetHost,
  image: string,
  task: (rootfs: string, start: string) => Promise<Value>,
): Promise<Value> {
  const { id, rootfs } = await host.client.start({ image });
  try {
    await expectGiven(host);
    return await task(rootfs, id);
  } finally {
    await host.client.endStart(id);
  }
}

/** So that what making an image has written is not written while something is measured. */
export async function flushDisks(): Promise<void> {
  await promisify(execFile)('sync');
}

export async function readAll(path: string): Promise<number> {
  const startedMs = performance.now();
  await promisify(execFile)('dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none']);
  return performance.now() - startedMs;
}

/** Brings the compressed devices into the store of a host, through its mirror. */
async function fetchBlobs({ fleet, seed }: SeededFleet, host: FleetHost, image: string): Promise<void> {
  const { config } = await seed.client.snapshot(image);
  const { repository } = parseReference(image);
  const { mirrorUrl } = await host.client.status();
  for (const { blobDigest } of config.devices) {
    const url = `${mirrorUrl}/v2/${repository}/blobs/${blobDigest}?ns=${fleet.registry.host}`;
    await promisify(execFile)('curl', ['--silent', '--fail', '--noproxy', '*', '--output', '/dev/null', url]);
  }
}

/** Reads a few bytes of many blocks. It waits for each, and so does this process. @returns milliseconds of each read */
function readApart(path: string, sizeBytes: number): number[] {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(READ_BYTES);
  const places = Math.floor(sizeBytes / STRIDE_BYTES);
  try {
    return Array.from({ length: places }, (_, index) => {
      const place = (index * LEAP) % places;
      const startedMs = performance.now();
      readSync(file, buffer, 0, READ_BYTES, place * STRIDE_BYTES);
      return performance.now() - startedMs;
    });
  } finally {
    closeSync(file);
  }
}
