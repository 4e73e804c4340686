import {
  type Digest,
  encodePieceTable,
  isDrakkarError,
  type NamedPieceTable,
  SNAPSHOT_MEDIA_TYPES,
} from '@drakkar/protocol';
import type { ContentReader, Store } from '../../store/index.ts';

/** Whoever asks this host for pieces does so by the table: it is to be here, too. @throws `no_space` */
export async function keepTable(
  store: Store,
  { digest, table }: NamedPieceTable,
  origin: string,
): Promise<void> {
  if (store.has(digest)) store.touch(digest);
  else await store.put(encodePieceTable(table), SNAPSHOT_MEDIA_TYPES.pieces, origin);
}

/** The whole blob, where it is here and as good as it was. */
export async function openComplete(store: Store, digest: Digest): Promise<ContentReader | undefined> {
  if (store.stat(digest)?.complete !== true) return undefined;
  try {
    return await store.open(digest);
  } catch (error) {
    if (isDrakkarError(error, 'not_found')) return undefined;
    throw error;
  }
}
