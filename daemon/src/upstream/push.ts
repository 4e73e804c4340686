import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { type Digest, DrakkarError, digestOf, isDigest, isDrakkarError } from '@drakkar/protocol';
import type { BlobName } from './blobs.ts';
import type { ManifestName } from './manifests.ts';
import { backoffMs, pause } from './retry.ts';
import type { CallOptions, Session } from './session.ts';

/** Where the bytes of a blob are. */
export type BlobSource = { readonly path: string } | { readonly bytes: Uint8Array };

export interface PushOptions extends CallOptions {
  /** Called with the bytes sent so far; starts again from 0 when an upload had to be repeated. */
  readonly onProgress?: ((sentBytes: number) => void) | undefined;
}

const READ_BYTES = 1024 * 1024;

/** @returns whether bytes were sent: not, when the repository has the blob already */
export async function pushBlob(
  session: Session,
  name: BlobName,
  sizeBytes: number,
  source: BlobSource,
  options: PushOptions,
): Promise<boolean> {
  if (await repositoryHas(session, name, options)) return false;
  const tries = options.tries ?? session.options.tries;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await upload(session, name, sizeBytes, source, options);
      return true;
    } catch (error) {
      const passing = isDrakkarError(error) && (error.code === 'unavailable' || error.code === 'timeout');
      if (!passing || attempt >= tries) throw error;
      await pause(backoffMs(attempt, undefined, Math.random(), session.options), options.signal);
    }
  }
}

async function repositoryHas(session: Session, name: BlobName, options: CallOptions): Promise<boolean> {
  const response = await session.request(
    {
      name,
      path: `blobs/${name.digest}`,
      method: 'HEAD',
      actions: 'pull,push',
      accept: [404, 405],
      what: `blob ${name.digest}`,
    },
    options,
  );
  session.discard(response);
  return response.ok;
}

/** One POST for a place, one PUT of the whole: every registry knows this form. An upload that failed begins anew. */
async function upload(
  session: Session,
  name: BlobName,
  sizeBytes: number,
  source: BlobSource,
  options: PushOptions,
): Promise<void> {
  const what = `the upload of blob ${name.digest}`;
  const common = { name, actions: 'pull,push', what } as const;
  const opened = await session.request(
    { ...common, path: 'blobs/uploads/', method: 'POST', headers: { 'content-length': '0' } },
    { ...options, tries: 1 },
  );
  session.discard(opened);
  const location = opened.headers.get('location');
  if (opened.status !== 202 || location === null || !URL.canParse(location, opened.url)) {
    throw new DrakkarError('unsupported', `${name.registry} gave no place for ${what}`);
  }
  const place = new URL(location, opened.url);
  place.searchParams.set('digest', name.digest);
  const done = await session.request(
    {
      ...common,
      path: place,
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
      body: () => reading(source, options.onProgress),
    },
    { ...options, tries: 1 },
  );
  session.discard(done);
}

function reading(source: BlobSource, onProgress: PushOptions['onProgress']): Readable {
  const bytes =
    'path' in source
      ? createReadStream(source.path, { highWaterMark: READ_BYTES })
      : Readable.from([source.bytes]);
  if (onProgress === undefined) return bytes;
  return Readable.from(
    (async function* () {
      let sentBytes = 0;
      for await (const chunk of bytes) {
        yield chunk;
        sentBytes += chunk.length;
        onProgress(sentBytes);
      }
    })(),
    { objectMode: false },
  );
}

export interface PushedManifest {
  readonly digest: Digest;
  /** The registry has understood the manifest's `subject` and lists it itself. */
  readonly subjectKnown: boolean;
}

/** @throws `invalid_content` when the registry stored something else */
export async function pushManifest(
  session: Session,
  name: ManifestName,
  bytes: Uint8Array,
  mediaType: string,
  options: CallOptions,
): Promise<PushedManifest> {
  const digest = digestOf(bytes);
  const response = await session.request(
    {
      name,
      path: `manifests/${name.reference}`,
      method: 'PUT',
      actions: 'pull,push',
      headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
      body: () => Readable.from([bytes]),
      what: `manifest ${name.reference}`,
    },
    options,
  );
  session.discard(response);
  const stored = response.headers.get('docker-content-digest');
  if (isDigest(stored) && stored !== digest) {
    throw new DrakkarError('invalid_content', `${name.registry} stored manifest ${digest} as ${stored}`);
  }
  return { digest, subjectKnown: response.headers.get('oci-subject') !== null };
}
