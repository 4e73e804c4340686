import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { DrakkarError } from '@drakkar/protocol';
import type { StagedFile } from '../blob/index.ts';
import { forkOwn } from '../own-process.ts';
import type { FromBuilder, ToBuilder } from './messages.ts';
import {
  type BuildModules,
  type BuildRequest,
  type BuildResult,
  type Built,
  DEFAULT_HEAP_MEBIBYTES,
  DEFAULT_STALL_TIMEOUT_MS,
  type OutputFile,
  type RearrangeRequest,
  type RearrangeResult,
} from './request.ts';
import { StallWatch } from './stall.ts';

const ENTRY = fileURLToPath(new URL('./builder-process.ts', import.meta.url));

/** Last words of a builder that ends badly. */
const STDERR_BYTES = 8 * 1024;

/**
 * Builds the snapshot of an image in a process of its own, which can be killed, and whose memory is bounded.
 * On failure nothing is left in the directory.
 *
 * @throws `invalid_content` | `limit_exceeded` naming image, layer and entry; `no_space`; `timeout` for a builder that
 * does nothing; `cancelled`; what `openLayer` and `reserve` throw
 */
export async function buildSnapshot(
  request: BuildRequest,
  modules: BuildModules,
  { signal }: { readonly signal: AbortSignal },
): Promise<BuildResult> {
  return emptyOnFailure(request, signal, async () => {
    const answer = await runBuilder({ kind: 'build', request }, modules, signal, (child, watch, ended) =>
      feed(child, request, modules, watch, ended),
    );
    if (answer.kind !== 'built') throw new DrakkarError('internal', `the builder says ${answer.kind}`);
    const { built } = answer;
    return {
      ...built,
      files: [...filesOf(built.meta), ...built.devices.flatMap(filesOf), ...chunkListOf(built)],
    };
  });
}

/**
 * Lays out anew a snapshot of which it has been learned what starts read: that lies together on one device more then, in the order in which
 * they read it. In a process of its own, as a build. On failure nothing is left in the directory.
 *
 * @throws as {@link buildSnapshot}
 */
export async function rearrangeSnapshot(
  request: RearrangeRequest,
  modules: Pick<BuildModules, 'reserve'>,
  { signal }: { readonly signal: AbortSignal },
): Promise<RearrangeResult> {
  return emptyOnFailure(request, signal, async () => {
    const answer = await runBuilder({ kind: 'rearrange', request }, modules, signal);
    if (answer.kind !== 'rearranged') throw new DrakkarError('internal', `the builder says ${answer.kind}`);
    const { rearranged } = answer;
    return { ...rearranged, files: [...filesOf(rearranged.meta), ...rearranged.devices.flatMap(filesOf)] };
  });
}

async function emptyOnFailure<Result>(
  { outputDir }: { readonly outputDir: string },
  signal: AbortSignal,
  task: () => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted();
  try {
    return await task();
  } catch (error) {
    const names = await readdir(outputDir).catch(() => []);
    await Promise.all(names.map((name) => rm(join(outputDir, name), { recursive: true, force: true })));
    throw error;
  }
}

function filesOf({ file, rawPath, blobPath, piecesPath }: StagedFile): OutputFile[] {
  return [
    { path: rawPath, digest: file.rawDigest, sizeBytes: file.rawSizeBytes, kind: 'volume' },
    { path: blobPath, digest: file.blobDigest, sizeBytes: file.blobSizeBytes, kind: 'blob' },
    { path: piecesPath, digest: file.piecesDigest, sizeBytes: file.piecesSizeBytes, kind: 'blob' },
  ];
}

function chunkListOf({ config: { chunks }, chunksPath }: Built): OutputFile[] {
  if (chunks === undefined || chunksPath === null) return [];
  return [{ path: chunksPath, digest: chunks.blobDigest, sizeBytes: chunks.blobSizeBytes, kind: 'blob' }];
}

type Job = Exclude<ToBuilder, { kind: 'reserved' }>;
type Answer = Exclude<FromBuilder, { kind: 'progress' | 'reserve' | 'failed' }>;

/** @param feed writes to the builder's standard input */
async function runBuilder(
  job: Job,
  modules: Pick<BuildModules, 'reserve'> & Partial<BuildModules>,
  signal: AbortSignal,
  feed?: (child: ChildProcess, watch: StallWatch, signal: AbortSignal) => Promise<void>,
): Promise<Answer> {
  const { request } = job;
  const child = startProcess(request.heapMebibytes ?? DEFAULT_HEAP_MEBIBYTES);
  const exited = once(child, 'exit');
  const ended = new AbortController();
  const outcome = Promise.withResolvers<Answer>();
  const whileRunning = AbortSignal.any([signal, ended.signal]);
  const onAbort = () => outcome.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  using watch = new StallWatch(request.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS, () =>
    outcome.reject(
      new DrakkarError('timeout', `${request.image}: the builder made no progress for too long`, {
        hint: 'look for a disk that hangs; or raise the stall timeout',
      }),
    ),
  );
  child.on('message', (message: FromBuilder) => {
    watch.touch();
    switch (message.kind) {
      case 'progress':
        modules.onProgress?.(message.progress);
        break;
      case 'reserve':
        watch
          .during(modules.reserve(message.bytes))
          .then(
            () => child.connected && child.send({ kind: 'reserved' } satisfies ToBuilder),
            outcome.reject,
          );
        break;
      case 'built':
      case 'rearranged':
        outcome.resolve(message);
        break;
      case 'failed':
        outcome.reject(DrakkarError.fromJSON(message.error));
        break;
    }
  });
  let lastWords = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-STDERR_BYTES);
  });
  child.on('error', outcome.reject);
  child.on('close', (code, cause) => outcome.reject(deathOf(request, code, cause, lastWords)));
  child.send(job satisfies ToBuilder);
  const fed = feed?.(child, watch, whileRunning).catch(outcome.reject);
  try {
    return await outcome.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    ended.abort();
    child.kill('SIGKILL');
    await Promise.all([exited, fed]);
  }
}

function startProcess(heapMebibytes: number): ChildProcess {
  const { NODE_OPTIONS } = process.env;
  return forkOwn(ENTRY, {
    execArgv: [
      `--max-old-space-size=${heapMebibytes}`,
      // The buffers of streams die young. Collected early they never pile up: 115 MiB at the peak instead of 173 with
      // 8 MiB, and no more CPU [measured, a layer of 400 MB].
      '--max-semi-space-size=1',
      // The tree only grows until the build ends, so marking it between collections is work for nothing: 3 to 10 % of the
      // time, for 40 MiB more at the peak [measured].
      '--no-incremental-marking',
    ],
    stdio: ['pipe', 'ignore', 'pipe', 'ipc'],
    env: {
      // Threads of their own arenas would each keep freed memory.
      MALLOC_ARENA_MAX: '2',
      // Who profiles a daemon means this, too.
      ...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }),
    },
  });
}

/** Writes the layers to the builder's standard input. A builder that is gone is not this function's concern. */
async function feed(
  child: ChildProcess,
  request: BuildRequest,
  modules: BuildModules,
  watch: StallWatch,
  signal: AbortSignal,
): Promise<void> {
  const { stdin } = child;
  if (stdin === null) throw new DrakkarError('internal', 'the builder has no standard input');
  stdin.on('error', () => undefined);
  for (const [index, { digest, sizeBytes }] of request.layers.entries()) {
    const source = modules.openLayer(index, { signal })[Symbol.asyncIterator]();
    let fedBytes = 0;
    try {
      for (;;) {
        if (signal.aborted) return;
        const next = await watch.during(Promise.resolve(source.next()));
        if (next.done) break;
        fedBytes += next.value.length;
        if (fedBytes > sizeBytes) break;
        await write(stdin, next.value);
      }
    } finally {
      await source.return?.();
    }
    if (fedBytes !== sizeBytes) {
      throw new DrakkarError(
        'invalid_content',
        `${request.image}: layer ${index + 1} (${digest}) has not the ${sizeBytes} bytes that the manifest says`,
      );
    }
  }
  stdin.end();
}

/** Waits while the pipe is full; a pipe that was closed takes everything. */
function write(stdin: Writable, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (stdin.destroyed) resolve();
    else stdin.write(bytes, () => resolve());
  });
}

function deathOf(
  request: Pick<BuildRequest, 'image'>,
  code: number | null,
  signal: NodeJS.Signals | null,
  lastWords: string,
): DrakkarError {
  if (/heap out of memory|heap limit/i.test(lastWords)) {
    return new DrakkarError(
      'limit_exceeded',
      `${request.image}: it has more files than fit in the builder's memory`,
      {
        hint: 'give the builder more memory if this image is meant to be so',
        details: { image: request.image },
      },
    );
  }
  const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
  return new DrakkarError(
    'unavailable',
    `${request.image}: the builder process ended ${how} before it was done`,
    {
      hint: 'try again; if it was killed, look for the kernel’s out-of-memory messages',
      details: { image: request.image, stderr: lastWords },
    },
  );
}
