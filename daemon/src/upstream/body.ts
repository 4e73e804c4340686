import { Readable } from 'node:stream';
import { DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import type { UpstreamOptions } from './options.ts';

type Patience = Pick<UpstreamOptions, 'idleTimeoutMs' | 'rateWindowMs' | 'minimumBytesPerSecond'>;

const CHECKS_PER_IDLE_TIMEOUT = 4;

/**
 * The chunks of a body. Only time spent waiting for the registry counts towards the limits, never the time that the reader
 * takes. Leaving the loop early closes the connection.
 * @throws `timeout` for a body that stalls or trickles; `unavailable` for one that breaks
 */
export async function* guardedChunks(
  response: Response,
  patience: Patience,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  const body = response.body;
  if (!(body instanceof Readable)) return;
  let windowBytes = 0;
  let windowWaitedMs = 0;
  let waitingSince: number | undefined;
  const stall = setInterval(() => {
    if (waitingSince === undefined || performance.now() - waitingSince < patience.idleTimeoutMs) return;
    body.destroy(
      new DrakkarError('timeout', `no byte of the body came within ${patience.idleTimeoutMs} ms`, {
        hint: 'check the server and the way to it; registries.idleTimeoutMs is how long to wait',
      }),
    );
  }, patience.idleTimeoutMs / CHECKS_PER_IDLE_TIMEOUT);
  const chunks: AsyncIterator<Buffer> = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      waitingSince = performance.now();
      const { value, done } = await chunks.next();
      if (done === true) return;
      windowWaitedMs += performance.now() - waitingSince;
      waitingSince = undefined;
      windowBytes += value.length;
      if (windowWaitedMs >= patience.rateWindowMs) {
        const rate = (windowBytes * 1000) / windowWaitedMs;
        if (rate < patience.minimumBytesPerSecond) {
          throw new DrakkarError(
            'timeout',
            `the body trickles at ${Math.round(rate)} bytes a second; at least ${patience.minimumBytesPerSecond} are wanted`,
            {
              hint: 'check the server and the way to it; registries.minimumBytesPerSecond is how slow it may be',
            },
          );
        }
        windowBytes = 0;
        windowWaitedMs = 0;
      }
      yield value;
    }
  } catch (error) {
    if (isDrakkarError(error)) throw error;
    if (signal?.aborted === true)
      throw new DrakkarError('cancelled', 'the transfer was cancelled', { cause: error });
    const why = error instanceof Error ? error.message : String(error);
    throw new DrakkarError('unavailable', `the connection broke in the body: ${why}`, { cause: error });
  } finally {
    clearInterval(stall);
    body.on('error', () => {});
    body.destroy();
  }
}

/** A whole body that may be no longer than `limitBytes`. @throws `limit_exceeded`, and as {@link guardedChunks} */
export async function readLimited(
  response: Response,
  limitBytes: number,
  what: string,
  patience: Patience,
  signal?: AbortSignal,
): Promise<Buffer> {
  const refuse = (size: string): DrakkarError =>
    new DrakkarError('limit_exceeded', `${what} has ${size} bytes; the limit is ${limitBytes}`);
  const declared = Number(response.headers.get('content-length') ?? 0);
  if (declared > limitBytes) {
    if (response.body instanceof Readable) {
      response.body.on('error', () => {});
      response.body.destroy();
    }
    throw refuse(String(declared));
  }
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of guardedChunks(response, patience, signal)) {
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) throw refuse(`more than ${limitBytes}`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, sizeBytes);
}
