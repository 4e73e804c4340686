import { Cron } from 'croner';
import { durationMs, type ImageSnapshotSpec } from '../resources/index.ts';

/** When something was due last, and is next, in milliseconds since 1970. */
export interface Due {
  readonly lastMs: number;
  readonly nextMs: number | undefined;
}

/** Four years: so long it may be to the next 29th of February. */
const LATEST_MS = (4 * 365 + 1) * 24 * 60 * 60_000;

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
    const cron = cronOf(refresh.cron);
    const [previous] = cron.previousRuns(1, new Date(nowMs + 1));
    const lastMs = Math.max(sinceMs, previous?.getTime() ?? sinceMs);
    return { lastMs, nextMs: cron.nextRun(new Date(nowMs))?.getTime() };
  }
  return { lastMs: sinceMs, nextMs: undefined };
}

/** Why tags can’t be looked at again as is said, where they can’t. */
export function scheduleProblem(refresh: ImageSnapshotSpec['refresh'], nowMs: number): string | undefined {
  if (refresh?.cron === undefined) return undefined;
  const shown = JSON.stringify(refresh.cron);
  try {
    const next = cronOf(refresh.cron).nextRun(new Date(nowMs));
    if (next !== null && next.getTime() - nowMs <= LATEST_MS) return undefined;
    return `the schedule ${shown} does not come within four years`;
  } catch {
    return `the schedule ${shown} is none; write it as 0 3 * * *`;
  }
}

const cronOf = (text: string): Cron => new Cron(text, { timezone: 'UTC', paused: true, mode: '5-part' });

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
