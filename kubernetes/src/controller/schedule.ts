import { Cron } from 'croner';
import { durationMs, type ImageSnapshotSpec } from '../resources/index.ts';

/** When something was due last, and is next, in milliseconds since 1970. */
export interface Due {
  readonly lastMs: number;
  readonly nextMs: number | undefined;
}

/**
 * When tags are looked at again. It depends on the schedule and the clock alone, so that whoever takes over looks at the same times.
 *
 * @param sinceMs from when on it counts: the first time is then
 * @throws `Error` for what is no schedule
 */
export function dueOf(refresh: ImageSnapshotSpec['refresh'], sinceMs: number, nowMs: number): Due {
  if (refresh?.interval !== undefined) {
    const everyMs = durationMs(refresh.interval);
    const lastMs = sinceMs + Math.floor(Math.max(0, nowMs - sinceMs) / everyMs) * everyMs;
    return { lastMs, nextMs: lastMs + everyMs };
  }
  if (refresh?.cron !== undefined) {
    const cron = new Cron(refresh.cron, { timezone: 'UTC', paused: true, mode: '5-part' });
    const [previous] = cron.previousRuns(1, new Date(nowMs + 1));
    const lastMs = Math.max(sinceMs, previous?.getTime() ?? sinceMs);
    return { lastMs, nextMs: cron.nextRun(new Date(nowMs))?.getTime() };
  }
  return { lastMs: sinceMs, nextMs: undefined };
}

/**
 * The time for which something is looked at: when it was due last, or the next time where it was looked at for that already, by who has a clock that is ahead.
 * @param before for which it was looked at last
 */
export function roundOf(
  { lastMs, nextMs = Number.POSITIVE_INFINITY }: Due,
  before: string | undefined,
): string {
  const beforeMs = Date.parse(before ?? '');
  return new Date(beforeMs > lastMs && beforeMs <= nextMs ? beforeMs : lastMs).toISOString();
}
