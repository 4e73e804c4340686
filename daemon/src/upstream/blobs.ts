import { type Digest, DrakkarError, digestOf, isDrakkarError } from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import { guardedChunks, readLimited } from './body.ts';
import { backoffMs, pause } from './retry.ts';
import type { CallOptions, RepositoryName, Session } from './session.ts';

export interface BlobName extends RepositoryName {
  readonly digest: Digest;
}

export interface BlobRange {
  /** First byte wanted; 0 when absent. */
  readonly startBytes?: number;
  /** First byte not wanted any more; the blob's end when absent. */
  readonly endBytes?: number;
}

export interface BlobStream {
  /** Of the whole blob, whatever the range; `undefined` where the registry does not tell. */
  readonly sizeBytes: number | undefined;
  /**
   * The bytes of the range. A connection that breaks is taken up again from the byte where it broke. The digest is not
   * checked here: only who has the whole blob can. Leaving the loop closes the connection.
   */
  readonly chunks: AsyncGenerator<Buffer, void, undefined>;
}

/** Progress that makes earlier failures forgotten. Less could come from a registry that trickles for ever. */
const PROGRESS_BYTES = 256 * 1024;

/** @returns the size, or `undefined` where the registry does not tell */
export async function headBlob(
  session: Session,
  name: BlobName,
  options: CallOptions,
): Promise<number | undefined> {
  const response = await session.request({ ...request(name), method: 'HEAD', accept: [405] }, options);
  session.discard(response);
  if (response.ok) return contentLength(response);
  const instead = await session.request({ ...request(name), method: 'GET' }, options);
  session.discard(instead);
  return contentLength(instead);
}

/** A small blob, whole and verified. @throws `limit_exceeded` | `invalid_content` | … */
export async function fetchBlob(
  session: Session,
  name: BlobName,
  limitBytes: number,
  options: CallOptions,
): Promise<Buffer> {
  const response = await session.request({ ...request(name), method: 'GET' }, options);
  const bytes = await readLimited(
    response,
    limitBytes,
    `blob ${name.digest}`,
    session.options,
    options.signal,
  );
  const digest = digestOf(bytes);
  if (digest === name.digest) return bytes;
  throw new DrakkarError(
    'invalid_content',
    `${name.registry} gave bytes with digest ${digest} for blob ${name.digest} of ${name.repository}`,
    { hint: 'the registry or something before it is broken', details: { ...name } },
  );
}

/** Returns when the first headers are here, so that what is missing or not allowed is known before any byte. */
export async function openBlob(
  session: Session,
  name: BlobName,
  range: BlobRange,
  options: CallOptions,
): Promise<BlobStream> {
  const start = range.startBytes ?? 0;
  const first = await openAt(session, name, start, range.endBytes, options);
  const chunks = resuming(session, name, range, first, options);
  return { sizeBytes: first.sizeBytes, chunks: closing(chunks, () => session.discard(first.response)) };
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
  /** Bytes of the body before the one that was asked for: a registry may ignore ranges. */
  readonly skipBytes: number;
}

async function openAt(
  session: Session,
  name: BlobName,
  start: number,
  end: number | undefined,
  options: CallOptions,
): Promise<Opened> {
  const ranged = start > 0 || end !== undefined;
  const headers: Record<string, string> = ranged
    ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` }
    : {};
  const response = await session.request({ ...request(name), method: 'GET', headers }, options);
  if (response.status !== 206) return { response, sizeBytes: contentLength(response), skipBytes: start };
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  if (match !== null && Number(match[1]) === start) {
    return { response, sizeBytes: Number(match[2]), skipBytes: 0 };
  }
  session.discard(response);
  throw new DrakkarError(
    'invalid_content',
    `${name.registry} answered with another range than was asked for of blob ${name.digest}`,
  );
}

async function* resuming(
  session: Session,
  name: BlobName,
  range: BlobRange,
  first: Opened,
  options: CallOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const { sizeBytes } = first;
  const end = range.endBytes ?? sizeBytes;
  let at = range.startBytes ?? 0;
  let opened: Opened | undefined = first;
  let failures = 0;
  let lastBreak = at;
  for (;;) {
    try {
      opened ??= await openAt(session, name, at, range.endBytes, options);
      if (opened.sizeBytes !== sizeBytes) throw changedSize(name);
      for await (const chunk of wanted(opened, session, options)) {
        const rest = end === undefined ? chunk.length : end - at;
        const part = chunk.length > rest ? chunk.subarray(0, rest) : chunk;
        await session.rate.pass(part.length, options.signal);
        at += part.length;
        yield part;
        if (at === end) return;
      }
      if (end === undefined) return;
      throw new DrakkarError('unavailable', `the body ended at byte ${at} of ${end}`);
    } catch (error) {
      opened = undefined;
      const passing = isDrakkarError(error) && (error.code === 'unavailable' || error.code === 'timeout');
      if (!passing || end === undefined) throw error;
      failures = at - lastBreak >= PROGRESS_BYTES ? 1 : failures + 1;
      lastBreak = at;
      if (failures >= session.options.tries) throw givenUp(name, at, end, failures, error);
    }
    await pause(backoffMs(failures, undefined, Math.random(), session.options), options.signal);
  }
}

async function* wanted(opened: Opened, session: Session, options: CallOptions): AsyncGenerator<Buffer> {
  let skip = opened.skipBytes;
  for await (const chunk of guardedChunks(opened.response, session.options, options.signal)) {
    if (skip >= chunk.length) {
      skip -= chunk.length;
      continue;
    }
    yield skip === 0 ? chunk : chunk.subarray(skip);
    skip = 0;
  }
}

function request(name: BlobName) {
  return { name, path: `blobs/${name.digest}`, what: `blob ${name.digest}` };
}

function contentLength(response: Response): number | undefined {
  const header = response.headers.get('content-length');
  return header !== null && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

function changedSize(name: BlobName): DrakkarError {
  return new DrakkarError(
    'invalid_content',
    `${name.registry} changed the size of blob ${name.digest} of ${name.repository} during the transfer`,
  );
}

function givenUp(
  name: BlobName,
  at: number,
  end: number,
  failures: number,
  cause: DrakkarError,
): DrakkarError {
  return new DrakkarError(
    cause.code,
    `blob ${name.digest} of ${name.registry}/${name.repository} broke ${failures} times without progress at byte ${at} of ${end}: ${cause.message}`,
    { hint: cause.hint, details: { ...name, at, end }, cause },
  );
}
