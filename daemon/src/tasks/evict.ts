import { type Digest, isDrakkarError, parseManifestDocument } from '@drakkar/protocol';
import type { Image, Images, SnapshotService, Work } from '../snapshots/index.ts';
import type { Store } from '../store/index.ts';
import { storedManifest } from '../stored-manifest.ts';
import { findImage } from '../upstream/index.ts';

export interface EvictModules {
  readonly store: Pick<Store, 'stat' | 'open' | 'remove'>;
  readonly snapshots: Pick<SnapshotService, 'list' | 'remove'>;
  readonly images: Pick<Images, 'meanings'>;
}

/** Takes one blob from the store. @returns its bytes, 0 where it is not here. @throws `busy` */
export function evict(digest: Digest, { store }: Pick<EvictModules, 'store'>): number {
  const presentBytes = store.stat(digest)?.presentBytes ?? 0;
  store.remove(digest);
  return presentBytes;
}

/**
 * Takes an image from this host: its snapshots, its layers and what leads to them, of all that its name has meant here. What other images share comes back when it is
 * wanted. The registry need not be there.
 *
 * @returns bytes that were given back
 * @throws `busy` where something of it is in use; what the registry says where nobody else knows what the name means
 */
export async function evictImage(
  name: string,
  platform: string | undefined,
  modules: EvictModules,
  work: Work,
): Promise<number> {
  const meanings = await modules.images.meanings(name, platform, work);
  const called = new Set(meanings.map(({ name }) => name));
  const manifests = new Set(meanings.map(({ record }) => record?.manifestDigest));
  let bytes = 0;
  for (const { image, manifestDigest, rawSizeBytes, residency } of await modules.snapshots.list(work)) {
    if (!manifests.has(manifestDigest) && !called.has(image)) continue;
    await modules.snapshots.remove(manifestDigest, work);
    bytes += Math.round(rawSizeBytes * residency);
  }
  for (const meaning of meanings)
    for (const digest of new Set([...(await partsOf(meaning, modules)), ...layersOf(meaning)]))
      bytes += evict(digest, modules);
  return bytes;
}

/** What of an image may be here, as far as what is here says; the registry is not asked. */
async function partsOf(image: Image, { store }: EvictModules): Promise<Digest[]> {
  const { registry } = image.reference;
  try {
    const { manifest, manifestDigest, rootDigest } = await findImage(
      async ({ reference }) => {
        const stored = await storedManifest(store, reference as Digest, registry);
        if (stored === undefined) throw new NotHere();
        return stored;
      },
      { ...image.reference, digest: image.rootDigest },
      image.platform,
    );
    const parts = [...manifest.layers, manifest.config].map(({ digest }) => digest);
    return [...new Set([...parts, manifestDigest, rootDigest])];
  } catch (error) {
    if (error instanceof NotHere || isDrakkarError(error, 'no_platform')) return [];
    throw error;
  }
}

/** Of an image whose snapshot was built here its layers are here, though nobody has pulled it. */
function layersOf({ record }: Image): Digest[] {
  const last = record?.documents.at(-1);
  const document = last === undefined ? undefined : parseManifestDocument(last);
  return document?.kind === 'manifest' ? document.manifest.layers.map(({ digest }) => digest) : [];
}

class NotHere extends Error {}
