import { type Digest, DrakkarError, digestOf } from '@drakkar/protocol';
import { readLimited } from './body.ts';
import { type BlobRange, type BlobStream, contentLength, openRanged } from './ranged.ts';
import type { CallOptions, RepositoryName, Session } from './session.ts';

export interface BlobName extends RepositoryName {
  readonly digest: Digest;
}

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
  const { registry, repository, digest } = name;
  return await openRanged(
    {
      what: `blob ${digest} of ${registry}/${repository}`,
      details: { ...name },
      get: (headers) => session.request({ ...request(name), method: 'GET', headers }, options),
    },
    range,
    session.options,
    session.rate,
    options,
  );
}

function request(name: BlobName) {
  return { name, path: `blobs/${name.digest}`, what: `blob ${name.digest}` };
}
