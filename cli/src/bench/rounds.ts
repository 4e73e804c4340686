import { setTimeout as sleep } from 'node:timers/promises';
import type { HostWorkDocument, JobDocument, SupernodeClient } from '@drakkar/client';
import { type DrakkarError, isDrakkarError } from '@drakkar/errors';
import type { Context } from '../context.ts';
import { jobLine } from '../output/jobs.ts';
import type { MeasureSpec } from './request.ts';

/** What became of one round. */
export interface Round {
  readonly job: JobDocument;
  readonly works: readonly HostWorkDocument[];
}

const POLL_MS = 250;
/** A supernode that starts anew is waited for so long. */
const AWAY_MS = 60_000;

/** Runs one round to its end. Ctrl-C ends it on all hosts, and what is known by then is given all the same. */
export async function runRound(context: Context, client: SupernodeClient, spec: MeasureSpec): Promise<Round> {
  let job: JobDocument = await client.createJob(spec, undefined, { signal: context.signal });
  let said = '';
  let answeredAtMs = performance.now();
  while (job.endedAtMs === null) {
    try {
      await sleep(POLL_MS, undefined, { signal: context.signal });
      job = await client.job(job.id, { signal: context.signal });
      answeredAtMs = performance.now();
    } catch (cause) {
      if (context.signal.aborted) job = await end(client, job);
      else if (!isForNow(cause) || performance.now() - answeredAtMs > AWAY_MS) throw cause;
    }
    const line = jobLine(job);
    if (line !== said) context.say(line);
    said = line;
  }
  return { job, works: await client.jobHosts(job.id) };
}

/** It may have ended by itself meanwhile. */
async function end(client: SupernodeClient, { id }: JobDocument): Promise<JobDocument> {
  try {
    return await client.actOnJob(id, 'cancel');
  } catch (error) {
    if (isDrakkarError(error, 'busy')) return await client.job(id);
    throw error;
  }
}

const isForNow = (cause: unknown): cause is DrakkarError =>
  isDrakkarError(cause, 'unavailable') || isDrakkarError(cause, 'limit_exceeded');
