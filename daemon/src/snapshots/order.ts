import type { OrderedFile } from '@drakkar/snapshotter';
import type { SnapshotRecord } from './catalogue.ts';
import type { LearnedStarts } from './learned.ts';
import type { Modules } from './modules.ts';
import { startKeyOf } from './start-key.ts';
import { tracedFiles } from './traced-files.ts';
import type { Work } from './work.ts';

/** A build does not wait longer to learn in which order to lay files out. */
const PATIENCE_MS = 5_000;

/**
 * The files that starts of an image read, in that order, as starts of the last snapshot of its repository have; none where nothing is known, or
 * that can't be read, which the log explains.
 *
 * @throws `cancelled`
 */
export async function startOrder(
  last: SnapshotRecord | undefined,
  { learned, store, log }: Pick<Modules, 'store' | 'log'> & { readonly learned: LearnedStarts },
  work: Work,
): Promise<OrderedFile[]> {
  if (last === undefined) return [];
  const signal = AbortSignal.any([work.signal, AbortSignal.timeout(PATIENCE_MS)]);
  try {
    const ranges = await learned.find(last.config, startKeyOf(), signal);
    if (ranges.length === 0) return [];
    const files = await tracedFiles(last, ranges, store, { signal });
    return [...new Set(files.flat())].map((path) => ({ path }));
  } catch (error) {
    work.signal.throwIfAborted();
    log.warn({ image: last.image, error }, 'files are not laid out in the order of starts');
    return [];
  }
}
