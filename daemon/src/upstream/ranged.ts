import { DrakkarError, isDrakkarError } from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import type { RateLimit } from '../rate-limit.ts';
import { guardedChunks } from './body.ts';
import type { UpstreamOptions } from './options.ts';
import { backoffMs, pause } from './retry.ts';
import type { CallOptions } from './session.ts';
import { discard } from './transport.ts';

export interface BlobRange {
  /** First byte wanted; 0 when absent. */
  readonly startBytes?: number;
  /** First byte not wanted any more; the blob's end when absent. */
  readonly endBytes?: number;
}

export interface BlobStream {
  /** Of the whole blob, whatever the range; `undefined` where the server does not tell. */
  readonly sizeBytes: number | undefined;
  /**
   * The bytes of the range. A connection that breaks is taken up again from the byte where it broke. The digest is not
   * checked here: only who has the whole blob can. Leaving the loop closes the connection.
   */
  readonly chunks: AsyncGenerator<Buffer, void, undefined>;
}

/** What can be read in parts, with as many requests as it takes. */
export interface Ranged {
  /** For messages: `blob sha256:… of docker.io/library/debian`. */
  readonly what: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** One GET; an answer with status 2xx. */
  get(headers: Readonly<Record<string, string>>): Promise<Response>;
}

/** Progress that makes earlier failures forgotten. Less could come from a server that trickles for ever. */
const PROGRESS_BYTES = 256 * 1024;

/** Returns when the first headers are here, so that what is missing or not allowed is known before any byte. */
export async function openRanged(
  source: Ranged,
  range: BlobRange,
  options: UpstreamOptions,
  rate: RateLimit,
  call: CallOptions,
): Promise<BlobStream> {
  const start = range.startBytes ?? 0;
  const first = await openAt(source, start, range.endBytes, options);
  const chunks = resuming(source, range, first, options, rate, call);
  return { sizeBytes: first.sizeBytes, chunks: closing(chunks, () => discard(first.response, options)) };
}

/** What an answer says of its body's length. */
export function contentLength(response: Response): number | undefined {
  const header = response.headers.get('content-length');
  return header !== null && /^\d{1,16}$/.test(header) ? Number(header) : undefined;
}

/** What an answer says of the whole, of which its body may be a part, or no part. */
export function wholeLength(response: Response): number | undefined {
  if (response.status !== 206 && response.status !== 416) return contentLength(response);
  const total = /^bytes (?:\d+-\d+|\*)\/(\d{1,16})$/.exec(response.headers.get('content-range') ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}

/** A generator that never began runs no `finally` when it is told to return: then the connection is given back here. */
function closing(
  chunks: AsyncGenerator<Buffer, void, undefined>,
  giveBack: () => void,
): AsyncGenerator<Buffer, void, undefined> {
  let begun = false;
  const next = chunks.next.bind(chunks);
  const end = chunks.return.bind(chunks);
  return Object.assign(chunks, {
    next: () => {
      begun = true;
      return next();
    },
    return: (value: undefined) => {
      if (!begun) giveBack();
      return end(value);
    },
  });
}

interface Opened {
  readonly response: Response;
  readonly sizeBytes: number | undefined;
  /** Bytes of the body before the one that was asked for: a server may ignore ranges. */
  readonly skipBytes: number;
}

async function openAt(
  source: Ranged,
  start: number,
  end: number | undefined,
  options: UpstreamOptions,
): Promise<Opened> {
  const ranged = start > 0 || end !== undefined;
  const response = await source.get(
    ranged ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {},
  );
  if (response.status !== 206) return { response, sizeBytes: contentLength(response), skipBytes: start };
  const sizeBytes = wholeLength(response);
  if (sizeBytes !== undefined && response.headers.get('content-range')?.startsWith(`bytes ${start}-`)) {
    return { response, sizeBytes, skipBytes: 0 };
  }
  discard(response, options);
  throw new DrakkarError('invalid_content', `another range came than was asked for of ${source.what}`);
}

async function* resuming(
  source: Ranged,
  range: BlobRange,
  first: Opened,
  options: UpstreamOptions,
  rate: RateLimit,
  { signal }: CallOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const { sizeBytes } = first;
  const end = range.endBytes ?? sizeBytes;
  let at = range.startBytes ?? 0;
  let opened: Opened | undefined = first;
  let failures = 0;
  let lastBreak = at;
  for (;;) {
    try {
      opened ??= await openAt(source, at, range.endBytes, options);
      if (opened.sizeBytes !== sizeBytes) throw changedSize(source);
      for await (const chunk of wanted(opened, options, signal)) {
        const rest = end === undefined ? chunk.length : end - at;
        const part = chunk.length > rest ? chunk.subarray(0, rest) : chunk;
        await rate.pass(part.length, signal);
        at += part.length;
        yield part;
        if (at === end) return;
      }
      if (end === undefined) return;
      throw new DrakkarError('unavailable', `the body ended at byte ${at} of ${end}`);
    } catch (error) {
      opened = undefined;
      const passing = isDrakkarError(error) && (error.code === 'unavailable' || error.code === 'timeout');
      if (!passing) throw error;
      if (end === undefined) throw brokenOff(source, at, error);
      failures = at - lastBreak >= PROGRESS_BYTES ? 1 : failures + 1;
      lastBreak = at;
      if (failures >= options.tries) throw givenUp(source, at, end, failures, error);
    }
    await pause(backoffMs(failures, undefined, Math.random(), options), signal);
  }
}

async function* wanted(
  opened: Opened,
  options: UpstreamOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let skip = opened.skipBytes;
  for await (const chunk of guardedChunks(opened.response, options, signal)) {
    if (skip >= chunk.length) {
      skip -= chunk.length;
      continue;
    }
    yield skip === 0 ? chunk : chunk.subarray(skip);
    skip = 0;
  }
}

function changedSize({ what }: Ranged): DrakkarError {
  return new DrakkarError('invalid_content', `the size of ${what} changed during the transfer`);
}

function brokenOff({ what, details }: Ranged, at: number, cause: DrakkarError): DrakkarError {
  return new DrakkarError(cause.code, `${what} broke off at byte ${at}: ${cause.message}`, {
    hint: cause.hint,
    details: { ...details, at },
    cause,
  });
}

function givenUp(
  { what, details }: Ranged,
  at: number,
  end: number,
  failures: number,
  cause: DrakkarError,
): DrakkarError {
  return new DrakkarError(
    cause.code,
    `${what} broke ${failures} times without progress at byte ${at} of ${end}: ${cause.message}`,
    { hint: cause.hint, details: { ...details, at, end }, cause },
  );
}
