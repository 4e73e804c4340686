import { setTimeout as sleep } from 'node:timers/promises';
import type { JobDocument, SupernodeClient } from '@drakkar/client';
import { DrakkarError, type ErrorCode } from '@drakkar/errors';
import type { Context } from '../context.ts';
import { jobLine, subjectOf } from '../output/jobs.ts';

const POLL_MS = 500;
const MAX_POLL_MS = 5_000;

/**
 * Says how a job gets on until it has ended, or is kept up: then what it came to. Ctrl-C ends the following, and not the job; neither does a
 * supernode that starts anew, or is asked too much.
 *
 * @throws why it failed
 */
export async function follow(context: Context, client: SupernodeClient, begun: JobDocument): Promise<void> {
  let job = begun;
  let said = '';
  let pollMs = POLL_MS;
  context.say(`job ${job.id}`);
  while (job.endedAtMs === null && job.state !== 'keeping') {
    const line = jobLine(job);
    if (line !== said) context.say(line);
    said = line;
    try {
      await sleep(pollMs, undefined, { signal: context.signal });
      job = await client.job(job.id, { signal: context.signal });
      pollMs = POLL_MS;
    } catch (cause) {
      if (context.signal.aborted) {
        throw new DrakkarError('cancelled', `the job goes on: \`drakkar jobs show ${job.id}\``, { cause });
      }
      if (!isForNow(cause)) throw cause;
      if (pollMs === POLL_MS) context.say(`${cause.message}; the job goes on, and it is asked for again`);
      pollMs = Math.min(MAX_POLL_MS, 2 * pollMs);
    }
  }
  if (job.state === 'succeeded' || job.state === 'keeping') {
    context.answer(job, `${subjectOf(job)}: ${jobLine(job)}`);
    return;
  }
  const code = (job.error?.code ?? (job.state === 'failed' ? 'unavailable' : 'cancelled')) as ErrorCode;
  const reason = [job.reason, job.error?.message].filter(
    (words, at, all) => words && all.indexOf(words) === at,
  );
  throw new DrakkarError(code, `${job.spec.kind} ${subjectOf(job)}: ${reason.join(': ') || job.state}`, {
    hint: job.error?.hint ?? `\`drakkar jobs show ${job.id}\` says how far each host was`,
    details: { job: job.id, ...(job.trace === null ? {} : { traceId: job.trace.traceId }) },
  });
}

const isForNow = (cause: unknown): cause is DrakkarError =>
  cause instanceof DrakkarError && (cause.code === 'unavailable' || cause.code === 'limit_exceeded');
