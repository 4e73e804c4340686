import type { FileRange } from '@drakkar/snapshotter';
import type { SnapshotRecord } from './catalogue.ts';
import type { LearnedStarts } from './learned.ts';
import type { Modules } from './modules.ts';
import { startKeyOf } from './start-key.ts';
import { tracedFiles } from './traced-files.ts';
import type { Work } from './work.ts';

/** A build does not wait longer to learn what starts will read. */
const PATIENCE_MS = 5_000;

/**
 * What starts of an image will read, in that order: as starts of the last snapshot of its repository have; nothing where that is not known, or
 * can't be read, which the log explains.
 *
 * @throws `cancelled`
 */
export async function lastReads(
  last: SnapshotRecord | undefined,
  { learned, store, log }: Pick<Modules, 'store' | 'log'> & { readonly learned: LearnedStarts },
  work: Work,
): Promise<FileRange[]> {
  if (last === undefined) return [];
  const signal = AbortSignal.any([work.signal, AbortSignal.timeout(PATIENCE_MS)]);
  try {
    const ranges = await learned.find(last.config, startKeyOf(), signal);
    return ranges.length === 0 ? [] : (await tracedFiles(last, ranges, store, { signal })).flat();
  } catch (error) {
    work.signal.throwIfAborted();
    log.warn({ image: last.image, error }, 'what starts read is not laid out together');
    return [];
  }
}
