import { DrakkarError, digestOf, type ImageReference, isDrakkarError } from '@drakkar/protocol';
import type { SnapshotRecord } from './catalogue.ts';
import { allBlobsOf, filesOf, type Modules, type Registry, type TravellingBlob } from './modules.ts';
import { pinned } from './staging.ts';
import type { Work } from './work.ts';

type PushModules = Pick<Modules, 'registry' | 'store' | 'content'>;

/**
 * Pushes a snapshot's artifact and blobs to its image's registry, where any host finds it as a referrer of the image. A blob that
 * the registry has need not be here.
 *
 * @throws `not_found` where a blob was evicted that the registry has not; what the registry says
 */
export function pushSnapshot(
  image: ImageReference,
  record: SnapshotRecord,
  modules: PushModules,
  work: Work,
): Promise<void> {
  const blobs = allBlobsOf(record.config);
  const digests = blobs.map(({ digest }) => digest);
  return pinned(modules.store, digests, () => pushAll(image, record, blobs, modules, work));
}

async function pushAll(
  image: ImageReference,
  { config, envelope, artifact }: SnapshotRecord,
  blobs: readonly TravellingBlob[],
  { registry, store, content }: PushModules,
  work: Work,
): Promise<void> {
  await store.verify(blobs.map(({ digest }) => digest));
  const here = blobs.filter(({ digest }) => store.has(digest));
  for (const blob of blobs) if (!here.includes(blob)) await requireThere(image, blob, registry, work);
  const totalBytes = here.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  let doneBytes = 0;
  for (const { digest, sizeBytes } of here) {
    await registry.pushBlob(image, digest, sizeBytes, { path: store.pathOf(digest) }, work);
    doneBytes += sizeBytes;
    work.progress('push', doneBytes, totalBytes);
  }
  await registry.pushBlob(image, digestOf(envelope), envelope.length, { bytes: envelope }, work);
  await registry.pushReferrer(image, artifact, work);
  // Who finds it there may have it from here.
  for (const { blobDigest, piecesDigest } of filesOf(config))
    await content.offerPieces(image, blobDigest, piecesDigest);
}

async function requireThere(
  image: ImageReference,
  { digest }: TravellingBlob,
  registry: Registry,
  work: Work,
): Promise<void> {
  try {
    await registry.headBlob(image, digest, work);
  } catch (cause) {
    if (!isDrakkarError(cause, 'not_found')) throw cause;
    throw new DrakkarError(
      'not_found',
      `the blob ${digest} of the snapshot is neither here nor in ${image.registry}`,
      { hint: 'build it again: drakkar snapshot build --rebuild --push IMAGE', cause },
    );
  }
}
