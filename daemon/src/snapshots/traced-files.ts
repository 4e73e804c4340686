import type { Trace } from '@drakkar/protocol';
import { type FileRange, filesOfTrace } from '@drakkar/snapshotter';
import type { SnapshotRecord } from './catalogue.ts';
import type { Abortable, Store } from './modules.ts';
import { pinned } from './staging.ts';

/**
 * Which parts of files of a snapshot lie in ranges of its devices, for each range. None where the meta is not here: it need not be fetched for that.
 *
 * @throws `cancelled`; `invalid_content` for a meta that is damaged
 */
export function tracedFiles(
  { config }: SnapshotRecord,
  ranges: Trace,
  store: Store,
  { signal = new AbortController().signal }: Abortable = {},
): Promise<readonly (readonly FileRange[])[]> {
  const { rawDigest } = config.meta;
  return pinned(store, [rawDigest], async () => {
    await store.verify([rawDigest]);
    if (!store.has(rawDigest, 'volume')) return [];
    return await filesOfTrace({ metaPath: store.pathOf(rawDigest), ranges }, { signal });
  });
}
