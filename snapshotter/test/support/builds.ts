import { createReadStream } from 'node:fs';
import type { ImageLayer } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import {
  type BuildModules,
  type BuildProgress,
  type BuildRequest,
  type BuildResult,
  buildSnapshot,
} from '../../src/index.ts';

export interface BuildOptions {
  readonly request?: Partial<BuildRequest>;
  readonly modules?: Partial<BuildModules>;
  readonly signal?: AbortSignal;
  /** Bytes of the parts in which the blobs arrive. */
  readonly partBytes?: number;
}

export function buildLayers(
  layers: readonly ImageLayer[],
  outputDir: string,
  { request, modules, signal, partBytes = 50_000 }: BuildOptions = {},
): Promise<BuildResult> {
  return buildSnapshot(
    {
      image: 'test.example/image:1',
      manifestDigest: digestOf('manifest'),
      layers: layers.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
      diffIds: layers.map(({ diffId }) => diffId),
      createdSeconds: 1_600_000_000,
      outputDir,
      ...request,
    },
    {
      openLayer: (index) => contentOf(layers[index], partBytes),
      reserve: async () => undefined,
      onProgress: (_progress: BuildProgress) => undefined,
      ...modules,
    },
    { signal: signal ?? new AbortController().signal },
  );
}

async function* contentOf(layer: ImageLayer | undefined, partBytes: number): AsyncGenerator<Uint8Array> {
  if (layer === undefined) throw new Error('there is no such layer');
  if (!(layer.content instanceof Uint8Array)) {
    yield* createReadStream(layer.content.path);
    return;
  }
  for (let at = 0; at < layer.content.length; at += partBytes) {
    yield layer.content.subarray(at, at + partBytes);
  }
}
