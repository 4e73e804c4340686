import { type DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import { isAway } from './away.ts';
import type { UpstreamOptions } from './options.ts';
import { backoffMs, isTransientStatus, parseRetryAfter, pause, throwIfCancelled } from './retry.ts';
import type { CallOptions } from './session.ts';

/** What an answer means to who asked. */
export interface Judgement {
  /** Statuses besides 2xx that the caller wants to see itself. */
  readonly accept?: readonly number[] | undefined;
  explain(response: Response): Promise<DrakkarError>;
}

/** Asks until there is an answer, or no use in asking. @throws what the last try threw, or what its answer means */
export async function answered(
  send: () => Promise<Response>,
  { accept, explain }: Judgement,
  options: UpstreamOptions,
  call: CallOptions,
): Promise<Response> {
  const tries = call.tries ?? options.tries;
  for (let attempt = 1; ; attempt += 1) {
    throwIfCancelled(call.signal);
    let failure: DrakkarError;
    let retryAfterMs: number | undefined;
    try {
      const response = await send();
      if (response.ok || accept?.includes(response.status) === true) return response;
      retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), Date.now());
      failure = await explain(response);
      if (!isTransientStatus(response.status)) throw failure;
    } catch (error) {
      if (!isDrakkarError(error) || !isAway(error)) throw error;
      failure = error;
    }
    if (attempt >= tries) throw failure;
    await pause(backoffMs(attempt, retryAfterMs, Math.random(), options), call.signal);
  }
}
