import type { ImagePart, ImageParts, PullRequest, PullResult } from '@drakkar/client';
import { type Descriptor, digestOf, isDigest, OCI_LIMITS, parseManifestDocument } from '@drakkar/protocol';
import type { Content, Pass } from './content/index.ts';
import type { Images, Work } from './snapshots/index.ts';
import type { Store } from './store/index.ts';
import { storedManifest } from './stored-manifest.ts';
import { type FetchedManifest, findImage, type ManifestName, type RegistryClient } from './upstream/index.ts';

/** Layers at the same time; as containerd does by default. */
const PARALLEL_LAYERS = 3;

export interface PullModules {
  readonly client: RegistryClient;
  readonly content: Content;
  readonly store: Store;
  readonly images: Images;
}

export interface PullOptions {
  /** Called before its layers come; what it throws ends the pull. */
  onParts?(parts: ImageParts): void;
  /** As of {@link OpenOptions}, for layers. */
  readonly pass?: Pass;
}

/**
 * Downloads an image into the store: manifests, config and, where they are wanted, layers, each verified. What is here already is not asked for again, so
 * that an image that is whole needs its registry for the meaning of its tag alone.
 */
export async function pullImage(
  request: PullRequest,
  { client, content, store, images }: PullModules,
  work: Work,
  { onParts, pass }: PullOptions = {},
): Promise<PullResult> {
  const startedMs = performance.now();
  const { reference, name, platform, rootDigest, tagAgeMs } = await images.resolve(
    request.image,
    request.platform,
    work,
  );
  const { registry } = reference;
  const fetch = async (document: ManifestName): Promise<FetchedManifest> => {
    const stored = isDigest(document.reference)
      ? await storedManifest(store, document.reference, registry)
      : undefined;
    if (stored !== undefined) return stored;
    const fetched = await client.fetchManifest(document, document.reference, work);
    await store.put(fetched.bytes, fetched.mediaType, registry);
    return fetched;
  };
  const image = await findImage(fetch, { ...reference, digest: rootDigest }, platform);
  const { manifest, manifestDigest } = image;
  const { config } = manifest;
  const parts = {
    documents: image.documents.map(documentPart),
    config: partOf(config),
    layers: manifest.layers.map(partOf),
  };
  onParts?.(parts);
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
  const pending = ((request.layers ?? true) ? manifest.layers : []).values();
  const download = async () => {
    for (const { digest, size } of pending) {
      await content.fetch({ image: reference, digest, sizeBytes: size }, work.receipt, {
        signal,
        onBytes,
        pass,
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL_LAYERS }, download));
  } finally {
    failed.abort();
  }
  return {
    image: name,
    manifestDigest,
    tagAgeMs,
    layers: manifest.layers.length,
    sizeBytes,
    parts,
    receipt: work.receipt.summary(),
    elapsedMs: performance.now() - startedMs,
  };
}

const partOf = ({ mediaType, digest, size }: Descriptor): ImagePart => ({ mediaType, digest, size });

const documentPart = (bytes: Buffer): ImagePart => ({
  mediaType: parseManifestDocument(bytes).mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
});
