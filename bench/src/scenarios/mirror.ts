import { execFile } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  answersAt,
  freePort,
  imageOf,
  layerOfFile,
  pushImage,
  startChild,
  startRegistry,
  untilReady,
} from '@drakkar/lab';
import { type Digest, Digester } from '@drakkar/protocol';
import { startBenchMachine } from '../runner/machine.ts';
import { cpuMsOf } from '../runner/process.ts';
import { atLeast, type Result } from '../runner/results.ts';
import { ratio, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const BLOB_BYTES = 1024 ** 3;
const QUICK_BLOB_BYTES = 64 * 1024 ** 2;
const MIN_ROUNDS = 7;
const PART_BYTES = 4 * 1024 ** 2;

const run = promisify(execFile);

const METHOD =
  'One curl at a time reads the blob over loopback, from nginx and from the mirror in turn. Both have it in memory: it was written, or pulled, just before.';

/** A hot blob of 1 GiB over loopback, against nginx that serves the same file with sendfile. The reader is curl. */
export const mirror: Scenario = async ({ rounds, isQuick, onSample }) => {
  const blobBytes = isQuick ? QUICK_BLOB_BYTES : BLOB_BYTES;
  await using registry = await startRegistry();
  const directory = await mkdtemp('/var/tmp/drakkar-bench-blob-');
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const { path, digest } = await randomBlob(directory, blobBytes);
  const layer = layerOfFile({ path, digest, diffId: digest, sizeBytes: blobBytes });
  await pushImage(registry.url, imageOf({ layers: [layer] }), { repository: 'bench/blob', tag: 'latest' });
  await using machine = await startBenchMachine();
  await machine.client.pull({ image: `${registry.host}/bench/blob:latest` });
  const { mirrorUrl } = await machine.client.status();
  const nginx = stack.use(await startNginx(directory));
  const blobUrl = `${mirrorUrl}/v2/bench/blob/blobs/${digest}?ns=${registry.host}`;
  const series = await takeSamples(
    [
      { name: 'nginx, sendfile', measure: () => download(`${nginx.url}/blob`) },
      {
        name: 'drakkar mirror',
        measure: async () => {
          const before = await cpuMsOf(machine.daemonPid);
          const { wallMs } = await download(blobUrl);
          return { wallMs, cpuMs: (await cpuMsOf(machine.daemonPid)) - before };
        },
      },
    ],
    isQuick ? rounds : Math.max(rounds, MIN_ROUNDS),
    onSample,
  );
  const [nginxSeries, mirrorSeries] = series;
  if (nginxSeries === undefined || mirrorSeries === undefined)
    throw new Error('two contenders make two series');
  const rate = ratio(nginxSeries, mirrorSeries, ({ wallMs }) => wallMs);
  const result: Result = {
    name: 'mirror',
    title: `Mirror: a hot blob of ${blobBytes / 1024 ** 2} MiB over loopback`,
    method: METHOD,
    series,
    input: { blobBytes, reader: 'curl' },
    claims: [atLeast('mirror: rate, against nginx with sendfile', rate, '×', TARGETS.mirror.figure)],
  };
  return [result];
};

async function randomBlob(directory: string, sizeBytes: number): Promise<{ path: string; digest: Digest }> {
  const path = join(directory, 'blob');
  await using file = await open(path, 'w');
  const digester = new Digester();
  const part = Buffer.alloc(PART_BYTES);
  for (let written = 0; written < sizeBytes; written += part.length) {
    randomFillSync(part);
    digester.update(part);
    await file.write(part);
  }
  return { path, digest: digester.digest() };
}

async function startNginx(directory: string): Promise<AsyncDisposable & { readonly url: string }> {
  const port = await freePort();
  const config = join(directory, 'nginx.conf');
  await mkdir(join(directory, 'nginx'), { recursive: true });
  await writeFile(
    config,
    `daemon off; user root; worker_processes 1; pid ${directory}/nginx.pid; error_log ${directory}/nginx.log;
     events {} http { access_log off; sendfile on; sendfile_max_chunk 2m; tcp_nopush on; client_body_temp_path ${directory}/nginx;
     server { listen 127.0.0.1:${port}; root ${directory}; } }`,
  );
  const child = startChild('nginx', ['-e', `${directory}/nginx.log`, '-c', config]);
  const url = `http://127.0.0.1:${port}`;
  await untilReady(child, 'nginx', () => answersAt(url));
  return { url, [Symbol.asyncDispose]: () => child.stop() };
}

async function download(url: string): Promise<{ wallMs: number }> {
  const startedMs = performance.now();
  await run('curl', ['--silent', '--fail', '--noproxy', '*', '--output', '/dev/null', url]);
  return { wallMs: performance.now() - startedMs };
}
