import { type Digest, isDrakkarError, OCI_LIMITS, parseManifestDocument } from '@drakkar/protocol';
import type { Store } from './store/index.ts';
import type { FetchedManifest } from './upstream/index.ts';

/** A manifest in the store that this registry has given before: another could not tell who may have it. */
export async function storedManifest(
  store: Pick<Store, 'stat' | 'open'>,
  digest: Digest,
  registry: string,
): Promise<FetchedManifest | undefined> {
  const found = store.stat(digest);
  if (found?.complete !== true || !found.origins.includes(registry)) return undefined;
  if (found.sizeBytes > OCI_LIMITS.manifestBytes) return undefined;
  try {
    await using reader = await store.open(digest);
    const bytes = Buffer.alloc(reader.sizeBytes);
    await reader.read(bytes, 0);
    const mediaType = reader.mediaType ?? parseManifestDocument(bytes).mediaType;
    return { digest, mediaType, sizeBytes: bytes.length, bytes };
  } catch (error) {
    if (isDrakkarError(error, 'not_found') || isDrakkarError(error, 'invalid_content')) return undefined;
    throw error;
  }
}
