import type { PullRequest, PullResult } from '@drakkar/client';
import { formatReference, hostPlatform, OCI_LIMITS, parsePlatform, parseReference } from '@drakkar/protocol';
import type { Content } from './content/index.ts';
import type { Work } from './snapshots/index.ts';
import type { Store } from './store/index.ts';
import type { RegistryClient } from './upstream/index.ts';

/** Layers at the same time; as containerd does by default. */
const PARALLEL_LAYERS = 3;

/** Downloads an image into the store: manifest, config and layers, each verified. */
export async function pullImage(
  request: PullRequest,
  { client, content, store }: { client: RegistryClient; content: Content; store: Store },
  work: Work,
): Promise<PullResult> {
  const startedMs = performance.now();
  const reference = parseReference(request.image);
  const platform = request.platform === undefined ? hostPlatform() : parsePlatform(request.platform);
  const image = await client.resolveImage(reference, platform, work);
  const { manifest, manifestDigest, manifestBytes, mediaType } = image;
  const { registry } = reference;
  await store.put(manifestBytes, mediaType, registry);
  const { config } = manifest;
  if (store.has(config.digest)) store.touch(config.digest);
  else {
    const bytes = await client.fetchBlob(reference, config.digest, OCI_LIMITS.configBytes, work);
    await store.put(bytes, config.mediaType, registry);
  }

  const sizeBytes = manifest.layers.reduce((total, { size }) => total + size, 0);
  let doneBytes = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    work.progress('download', doneBytes, sizeBytes);
  };
  const failed = new AbortController();
  const signal = AbortSignal.any([work.signal, failed.signal]);
  const pending = manifest.layers.values();
  const download = async () => {
    for (const { digest, size } of pending) {
      await content.fetch({ image: reference, digest, sizeBytes: size }, work.receipt, { signal, onBytes });
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL_LAYERS }, download));
  } finally {
    failed.abort();
  }
  return {
    image: formatReference(reference),
    manifestDigest,
    layers: manifest.layers.length,
    sizeBytes,
    receipt: work.receipt.summary(),
    elapsedMs: performance.now() - startedMs,
  };
}
