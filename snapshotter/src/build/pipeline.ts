import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  DEFAULT_BLOCK_BYTES,
  type Digest,
  Digester,
  DrakkarError,
  type ErrorDocument,
  MAX_DEVICES,
  MAX_PREFETCH_RANGES,
  type SnapshotConfig,
  toDrakkarError,
} from '@drakkar/protocol';
import { LayerStack } from '../layers/index.ts';
import { rangesOf } from '../trace/index.ts';
import { MemoryChunkIndex } from './chunk-index.ts';
import { writeChunkList } from './chunk-list.ts';
import { ChunkSink } from './chunk-sink.ts';
import { decompressLayer } from './decompress.ts';
import { DeviceFiles } from './device-files.ts';
import { planDevices } from './devices.ts';
import {
  type Dictionary,
  type DictionarySource,
  hardlyUsed,
  loadDictionary,
  NO_DICTIONARY,
} from './dictionary.ts';
import { LayerInput } from './layer-input.ts';
import { writeMeta } from './meta.ts';
import { Meter } from './meter.ts';
import {
  type BuildProgress,
  type BuildRequest,
  type BuildStats,
  type Built,
  DEFAULT_BUILD_LIMITS,
  DEFAULT_COMPRESSION_LEVEL,
} from './request.ts';
import { SpaceLedger } from './space.ts';
import { arrangeStart } from './start-device.ts';

const BUILDER = 'drakkar/0.1.0';

export interface PipelineModules {
  /** The blobs of all layers, one after the other. */
  readonly input: AsyncIterable<Uint8Array>;
  reserve(bytes: number): Promise<void>;
  onProgress(progress: BuildProgress): void;
}

/**
 * Builds a snapshot in this process. The same request, dictionary and input give the same bytes, however the input arrives.
 * @throws `invalid_content` | `limit_exceeded` | …, naming image, layer and entry; the files are then in any state
 */
export async function runPipeline(request: BuildRequest, modules: PipelineModules): Promise<Built> {
  try {
    return await buildAll(request, modules);
  } catch (error) {
    throw withImage(error, request);
  }
}

async function buildAll(request: BuildRequest, modules: PipelineModules): Promise<Built> {
  if (request.diffIds.length !== request.layers.length) {
    throw new DrakkarError(
      'invalid_content',
      `the manifest and the image’s config do not have as many layers: ${request.layers.length} and ${request.diffIds.length}`,
    );
  }
  const limits = { ...DEFAULT_BUILD_LIMITS, ...request.limits };
  const blockBytes = request.blockBytes ?? DEFAULT_BLOCK_BYTES;
  const space = new SpaceLedger(modules.reserve);
  const files = {
    blockBytes,
    compressionLevel: request.compressionLevel ?? DEFAULT_COMPRESSION_LEVEL,
    reserve: (bytes: number) => space.take(bytes),
  };
  const { dictionary, failure } = await openDictionary(request.dictionary);
  const devices = new DeviceFiles(request.outputDir, files, dictionary);
  const chunkIndex = new MemoryChunkIndex();
  const sink = new ChunkSink(chunkIndex, devices);
  const stack = new LayerStack({ sink, createdSeconds: request.createdSeconds, limits });
  const meter = new Meter(limits, modules.onProgress);
  const input = new LayerInput(modules.input);
  const startedMs = performance.now();

  const reads = request.reads ?? [];
  const maxNewDevices = MAX_DEVICES - dictionary.devices.length - (reads.length === 0 ? 0 : 1);
  const layerSizes = request.layers.map(({ sizeBytes }) => sizeBytes);
  for (const group of planDevices(layerSizes, maxNewDevices)) {
    await devices.open();
    for (let index = group.first; index < group.end; index++) {
      try {
        await applyLayer(stack, input, meter, request, index);
      } catch (error) {
        throw withLayer(error, request, index);
      }
    }
    await devices.finish();
  }
  const usedBlocks = chunkIndex.usedBlocks(devices.files.length);
  const uses = devices.files.map((file, slot) => ({ file, usedBlocks: usedBlocks[slot] ?? 0 }));
  const chunks = await writeChunkList(chunkIndex, devices.files.length, request.outputDir, files.reserve);
  const layersDoneMs = performance.now();

  meter.report('meta');
  const start = await arrangeStart(stack.root, rangesOf(stack.root, reads), {
    ...files,
    outputDir: request.outputDir,
    devices: devices.files.length,
    rawPaths: devices.madePaths,
  });
  const made = [...devices.made, ...(start.staged === undefined ? [] : [start.staged])];
  const all = [...devices.files, ...(start.staged === undefined ? [] : [start.staged.file])];
  const meta = await writeMeta(stack.root, all, {
    ...files,
    outputDir: request.outputDir,
    uuid: uuidOf(request.manifestDigest),
    epochSeconds: request.createdSeconds,
    maxChunks: limits.chunks,
  });
  meter.report('meta');
  const config: SnapshotConfig = {
    formatVersion: 1,
    builder: BUILDER,
    manifestDigest: request.manifestDigest,
    blockBytes,
    meta: meta.staged.file,
    devices: all,
    files: meta.inodes,
    ...(chunks === undefined ? {} : { chunks: chunks.file }),
    ...(start.prefetch.length === 0 ? {} : { prefetch: start.prefetch.slice(0, MAX_PREFETCH_RANGES) }),
  };
  const stats: BuildStats = {
    compressedBytes: meter.compressedBytes,
    rawBytes: meter.rawBytes,
    inodes: meta.inodes,
    ...sink.counts,
    chunks: chunkIndex.size,
    layersMs: layersDoneMs - startedMs,
    metaMs: performance.now() - layersDoneMs,
    ...(await processCosts()),
  };
  return {
    config,
    meta: meta.staged,
    devices: made,
    chunksPath: chunks?.path ?? null,
    dictionaryFailure: failure,
    hardlyUsed: hardlyUsed(uses, dictionary.devices),
    reservedBytes: space.reservedBytes,
    stats,
  };
}

/** A dictionary only saves work: without it the snapshot is as good. */
async function openDictionary(
  source: DictionarySource | undefined,
): Promise<{ readonly dictionary: Dictionary; readonly failure: ErrorDocument | null }> {
  try {
    const dictionary = source === undefined ? NO_DICTIONARY : await loadDictionary(source);
    return { dictionary, failure: null };
  } catch (error) {
    return { dictionary: NO_DICTIONARY, failure: toDrakkarError(error).toJSON() };
  }
}

async function applyLayer(
  stack: LayerStack,
  input: LayerInput,
  meter: Meter,
  request: BuildRequest,
  index: number,
): Promise<void> {
  const layer = request.layers[index];
  const diffId = request.diffIds[index];
  if (layer === undefined || diffId === undefined) {
    throw new DrakkarError('internal', `there is no layer ${index}`);
  }
  meter.startLayer(index);
  const digester = new Digester();
  const compressed = input.layer(layer.sizeBytes);
  const raw = tap(decompressLayer(tap(compressed, (bytes) => meter.compressed(bytes))), (bytes) => {
    meter.raw(bytes);
    digester.update(bytes);
  });
  await stack.applyLayer(nameOf(request, index), raw);
  const actual: Digest = digester.digest();
  if (actual !== diffId) {
    throw new DrakkarError(
      'invalid_content',
      `it unpacks to ${actual}, but the image’s config says ${diffId}`,
    );
  }
}

async function* tap(
  source: AsyncIterable<Uint8Array>,
  see: (bytes: Uint8Array) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const bytes of source) {
    see(bytes);
    yield bytes;
  }
}

/** A UUID version 8 (RFC 9562): ours to define, and of the same image always the same. */
function uuidOf(manifestDigest: Digest): Uint8Array {
  const uuid = createHash('sha256').update(`drakkar snapshot of ${manifestDigest}`).digest().subarray(0, 16);
  uuid.writeUInt8((uuid.readUInt8(6) & 0x0f) | 0x80, 6);
  uuid.writeUInt8((uuid.readUInt8(8) & 0x3f) | 0x80, 8);
  return uuid;
}

/** `VmHWM`, since `ru_maxrss` of a child begins with its parent's. */
async function processCosts(): Promise<Pick<BuildStats, 'cpuMs' | 'peakRssBytes'>> {
  const { user, system } = process.cpuUsage();
  const status = await readFile('/proc/self/status', 'latin1');
  const kibibytes = Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0);
  return { cpuMs: (user + system) / 1000, peakRssBytes: kibibytes * 1024 };
}

/** How errors name a layer, after the word. */
function nameOf(request: BuildRequest, index: number): string {
  return `${index + 1} of ${request.layers.length} (${request.layers[index]?.digest})`;
}

/** The error with the layer in front; those of the layer stack name it themselves. */
function withLayer(error: unknown, request: BuildRequest, index: number): DrakkarError {
  const { code, message, hint, details } = toDrakkarError(error);
  const layer = details.layer === undefined ? `layer ${nameOf(request, index)}: ` : '';
  return new DrakkarError(code, layer + message, {
    hint,
    details: { ...details, layer: request.layers[index]?.digest },
    cause: error,
  });
}

function withImage(error: unknown, { image }: BuildRequest): DrakkarError {
  const { code, message, hint, details } = toDrakkarError(error);
  return new DrakkarError(code, `${image}: ${message}`, {
    hint,
    details: { ...details, image },
    cause: error,
  });
}
