import { DrakkarError, digestOf, type ImageReference } from '@drakkar/protocol';
import type { SnapshotRecord } from './catalogue.ts';
import { blobsOf, filesOf, type Registry, type Store } from './modules.ts';
import { pinned } from './staging.ts';
import type { Work } from './work.ts';

/**
 * Pushes a snapshot's artifact and blobs to its image's registry, where any host finds it as a referrer of the image.
 *
 * @throws `not_found` where a blob was evicted; what the registry says
 */
export function pushSnapshot(
  image: ImageReference,
  record: SnapshotRecord,
  modules: { registry: Registry; store: Store },
  work: Work,
): Promise<void> {
  const blobs = filesOf(record.config).flatMap(blobsOf);
  const digests = blobs.map(({ digest }) => digest);
  return pinned(modules.store, digests, () => pushAll(image, record, blobs, modules, work));
}

async function pushAll(
  image: ImageReference,
  { envelope, artifact }: SnapshotRecord,
  blobs: ReturnType<typeof blobsOf>,
  { registry, store }: { registry: Registry; store: Store },
  work: Work,
): Promise<void> {
  await store.verify(blobs.map(({ digest }) => digest));
  const missing = blobs.find(({ digest }) => !store.has(digest));
  if (missing !== undefined) {
    throw new DrakkarError('not_found', `the blob ${missing.digest} of the snapshot is no longer here`, {
      hint: 'build it again: drakkar snapshot build --rebuild --push IMAGE',
    });
  }
  const totalBytes = blobs.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  let doneBytes = 0;
  for (const { digest, sizeBytes } of blobs) {
    await registry.pushBlob(image, digest, sizeBytes, { path: store.pathOf(digest) }, work);
    doneBytes += sizeBytes;
    work.progress('push', doneBytes, totalBytes);
  }
  await registry.pushBlob(image, digestOf(envelope), envelope.length, { bytes: envelope }, work);
  await registry.pushReferrer(image, artifact, work);
}
