import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { imageOf, layerOf, pushImage, startChild, untilReady } from '@drakkar/lab';
import { type Fleet, type FleetHost, startFleet } from '../fleet/fleet.ts';
import { cpuMsOf } from '../runner/process.ts';
import { atLeast, type Result } from '../runner/results.ts';
import { ratio, type Sample, takeSamples } from '../runner/samples.ts';
import { warmMemory } from '../runner/warm-memory.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const BLOB_BYTES = 1024 ** 3;
const QUICK_BLOB_BYTES = 64 * 1024 ** 2;
const QUOTA_BYTES = 64 * 1024 ** 3;
const BARE_HTTPS = join(import.meta.dirname, '../fleet/bare-https.ts');

const METHOD =
  'Both daemons, or both ends of a bare node:https, run on the same machine; the blob is new to both daemons each time, and one has pulled it before. As much memory as the blob takes is touched before, but where its cost is to be seen. Nothing else warms up.';

const run = promisify(execFile);

interface WireSample extends Sample {
  /** Milliseconds of CPU of the side that gives. */
  readonly giverCpuMs: number;
}

/** One blob from a daemon to another over loopback, encrypted, hashed and stored, against `node:https` that does nothing else. */
export const wire: Scenario = async ({ rounds, isQuick, onSample }) => {
  const blobBytes = isQuick ? QUICK_BLOB_BYTES : BLOB_BYTES;
  await using fleet = await startFleet({ hosts: 2, daemon: () => ({ store: { quotaBytes: QUOTA_BYTES } }) });
  await using bare = await startBareServer();
  const [first, second] = fleet.hosts as [FleetHost, FleetHost];
  const series = await takeSamples(
    [
      { name: 'node:https alone', measure: () => fetchBare(bare, blobBytes) },
      {
        name: 'daemon to daemon',
        measure: async (round) => {
          const image = await push(fleet, round, blobBytes);
          await first.client.pull({ image });
          await warmMemory(blobBytes * 1.5);
          return await pullFrom(first, second, image, blobBytes);
        },
      },
      {
        name: 'daemon to daemon, into memory that the machine takes anew',
        measure: async (round) => {
          const image = await push(fleet, rounds + round, blobBytes);
          await first.client.pull({ image });
          return await pullFrom(first, second, image, blobBytes);
        },
      },
    ],
    rounds,
    onSample,
  );
  const [bareSeries, daemonSeries] = series;
  if (bareSeries === undefined || daemonSeries === undefined)
    throw new Error('two contenders make two series');
  const rate = ratio(bareSeries, daemonSeries, ({ wallMs }) => wallMs);
  const result: Result = {
    name: 'wire',
    title: `One blob of ${blobBytes / 1024 ** 2} MiB from daemon to daemon over loopback`,
    method: METHOD,
    series,
    baseline: 'node:https alone',
    input: { blobBytes, cpuMs: 'of the side that takes; giverCpuMs: of the side that gives' },
    claims: [atLeast('daemon to daemon: rate, against node:https alone', rate, '×', TARGETS.wire.figure)],
  };
  return [result];
};

async function push({ registry }: Fleet, round: number, blobBytes: number): Promise<string> {
  const repository = `bench/wire-${round}`;
  const layer = layerOf(randomBytes(blobBytes), { compression: 'none' });
  await pushImage(registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
  return `${registry.host}/${repository}:latest`;
}

async function pullFrom(
  giver: FleetHost,
  taker: FleetHost,
  image: string,
  blobBytes: number,
): Promise<WireSample> {
  const before = [await cpuMsOf(giver.pid), await cpuMsOf(taker.pid)] as const;
  const startedMs = performance.now();
  const { receipt } = await taker.client.pull({ image });
  const wallMs = performance.now() - startedMs;
  if (receipt.peerBytes < blobBytes) throw new Error('the blob came from elsewhere');
  return {
    wallMs,
    cpuMs: (await cpuMsOf(taker.pid)) - before[1],
    giverCpuMs: (await cpuMsOf(giver.pid)) - before[0],
  };
}

async function startBareServer(): Promise<AsyncDisposable & { readonly pid: number; readonly port: string }> {
  const child = startChild(process.execPath, [BARE_HTTPS, 'serve']);
  await untilReady(child, 'node:https', async () => /^[0-9]+\n/m.test(child.output()));
  return {
    pid: child.process.pid ?? 0,
    port: child.output().trim(),
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

async function fetchBare(
  { pid, port }: { pid: number; port: string },
  blobBytes: number,
): Promise<WireSample> {
  const before = await cpuMsOf(pid);
  const { stdout } = await run(process.execPath, [BARE_HTTPS, 'fetch', port, `${blobBytes}`]);
  const { wallMs, cpuMs } = JSON.parse(stdout) as Sample;
  return { wallMs, ...(cpuMs === undefined ? {} : { cpuMs }), giverCpuMs: (await cpuMsOf(pid)) - before };
}
