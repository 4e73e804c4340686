import { mkdir } from 'node:fs/promises';
import { layerOf, type TarItem, tarArchive } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { runPipeline } from '../../../src/build/pipeline.ts';
import type { BuildRequest, Built } from '../../../src/build/request.ts';
import type { DictionarySource } from '../../../src/index.ts';

/** Builds layers in this process. */
export async function buildHere(
  layers: readonly (readonly TarItem[])[],
  outputDir: string,
  request: Partial<BuildRequest> = {},
): Promise<Built> {
  await mkdir(outputDir);
  const blobs = layers.map((items) => layerOf(tarArchive(items), { compression: 'none' }));
  return runPipeline(
    {
      image: 'test.example/image:1',
      manifestDigest: digestOf(JSON.stringify(blobs.map(({ digest }) => digest))),
      layers: blobs.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
      diffIds: blobs.map(({ diffId }) => diffId),
      createdSeconds: 0,
      outputDir,
      ...request,
    },
    {
      input: (async function* () {
        for (const { content } of blobs) if (content instanceof Uint8Array) yield content;
      })(),
      reserve: async () => undefined,
      onProgress: () => undefined,
    },
  );
}

/** A snapshot as the one upon which the next is built. */
export function dictionaryOf({ config, chunksPath }: Pick<Built, 'config' | 'chunksPath'>): DictionarySource {
  if (config.chunks === undefined || chunksPath === null) throw new Error('there is no chunk list');
  const usable = config.devices.map((_, slot) => slot);
  return { list: config.chunks, listPath: chunksPath, devices: config.devices, usable };
}
