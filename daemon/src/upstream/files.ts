import { type Digest, DrakkarError, digestFromHex } from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import { RateLimit } from '../rate-limit.ts';
import { createAgents } from './agents.ts';
import { answered } from './answered.ts';
import {
  FILE_RULES,
  type FileRules,
  fileGuard,
  mustBePublic,
  parseFileUrl,
  withoutQuery,
} from './file-rules.ts';
import { completeUpstreamOptions, type UpstreamOptions } from './options.ts';
import { type BlobRange, type BlobStream, openRanged, wholeLength } from './ranged.ts';
import { isTransientStatus } from './retry.ts';
import type { CallOptions } from './session.ts';
import { discard, exchange } from './transport.ts';

/** What a server says of a file, by which one version of it is told from another. */
export interface FileVersion {
  readonly etag: string | null;
  readonly lastModified: string | null;
  readonly sizeBytes: number | undefined;
}

export interface FileHead extends FileVersion {
  /** As the server says; nobody has compared it with the bytes. */
  readonly digest: Digest | undefined;
}

/**
 * Files of web servers, asked for without any credential. Every call throws {@link DrakkarError}s as those of a registry client
 * do, and `forbidden` for a redirect to what the rules do not let through.
 */
export interface FileClient extends Disposable {
  /** @throws `invalid_argument` | `forbidden`: see {@link parseFileUrl} */
  parse(text: string): URL;
  /** What the server says of a file; `unchanged` where it is still the version that was seen before. */
  head(url: URL, options: CallOptions & { readonly seen?: undefined }): Promise<FileHead>;
  head(url: URL, options: HeadOptions): Promise<FileHead | 'unchanged'>;
  /** A file or a part of it, as a stream that resumes itself. @throws `invalid_content` for another version */
  open(url: URL, range: BlobRange, options: OpenFileOptions): Promise<BlobStream>;
}

export interface HeadOptions extends CallOptions {
  readonly seen?: FileVersion | undefined;
}

export interface OpenFileOptions extends CallOptions {
  /** The only one that is taken; the first that comes where absent. */
  readonly version: FileVersion | undefined;
  /**
   * The bytes will be compared with a digest that does not come from them. Else, where the server says neither a strong ETag nor a
   * date, nothing tells a part of one version from a part of the next, and no part is asked for.
   */
  readonly isProven: boolean;
  /** Is told which version each answer is of. */
  readonly onVersion?: ((version: FileVersion) => void) | undefined;
}

/** HEAD is not for everybody: a signed URL holds for one method, and some servers know only GET. */
const NO_HEAD = [400, 403, 405, 501];

/** @throws `invalid_argument` for CA files that cannot be read */
export function createFileClient(
  options: Partial<UpstreamOptions> = {},
  rules: Partial<FileRules> = {},
): FileClient {
  return new HttpFiles(completeUpstreamOptions(options), { ...FILE_RULES, ...rules });
}

class HttpFiles implements FileClient {
  readonly #options: UpstreamOptions;
  readonly #rules: FileRules;
  readonly #rate: RateLimit;
  readonly #agents: ReturnType<typeof createAgents>;

  constructor(options: UpstreamOptions, rules: FileRules) {
    this.#options = options;
    this.#rules = rules;
    this.#rate = new RateLimit(options.bytesPerSecond);
    this.#agents = createAgents(options);
  }

  parse(text: string): URL {
    return parseFileUrl(text, this.#rules);
  }

  head(url: URL, options: CallOptions & { readonly seen?: undefined }): Promise<FileHead>;
  head(url: URL, options: HeadOptions): Promise<FileHead | 'unchanged'>;
  async head(url: URL, { seen, ...call }: HeadOptions): Promise<FileHead | 'unchanged'> {
    const conditions = conditionsOf(seen);
    let response = await this.#ask('HEAD', url, conditions, [304, ...NO_HEAD], call);
    discard(response, this.#options);
    if (NO_HEAD.includes(response.status)) {
      const first = { ...conditions, range: 'bytes=0-0' };
      response = await this.#ask('GET', url, first, [304, 416], call);
      discard(response, this.#options);
    }
    if (response.status === 304) return 'unchanged';
    const version = versionOf(response);
    // Of an empty file there is no first byte.
    const isEmpty = response.status === 416 && response.headers.get('content-range') === 'bytes */0';
    if (response.status === 416 && !isEmpty) throw await this.#explain(response, url);
    return { ...version, sizeBytes: isEmpty ? 0 : version.sizeBytes, digest: digestOf(response) };
  }

  async open(
    url: URL,
    range: BlobRange,
    { version, isProven, onVersion, ...call }: OpenFileOptions,
  ): Promise<BlobStream> {
    let expected = version;
    let saidBytes = version?.sizeBytes;
    const what = withoutQuery(url);
    const get = async (headers: Readonly<Record<string, string>>): Promise<Response> => {
      const isPart = headers.range !== undefined;
      const validator = expected === undefined ? undefined : validatorOf(expected);
      if (isPart && validator === undefined && !isProven) throw unproven(what);
      const condition = isPart && validator !== undefined ? { 'if-range': validator } : {};
      const response = await this.#ask('GET', url, { ...headers, ...condition }, isPart ? [416] : [], call);
      const found = versionOf(response);
      const isShort = response.status === 416;
      if (isShort || (expected !== undefined && !isSameVersion(expected, found))) {
        discard(response, this.#options);
        const isOther =
          expected === undefined || !isSameVersion({ ...expected, sizeBytes: undefined }, found);
        throw isOther ? changed(what) : cutShort(what, saidBytes, found.sizeBytes);
      }
      expected ??= found;
      saidBytes ??= found.sizeBytes;
      onVersion?.(found);
      return response;
    };
    const source = { what, details: { url: what }, get };
    return await openRanged(source, range, this.#options, this.#rate, call);
  }

  [Symbol.dispose](): void {
    this.#agents[Symbol.dispose]();
  }

  #ask(
    method: 'GET' | 'HEAD',
    url: URL,
    headers: Readonly<Record<string, string>>,
    accept: readonly number[],
    call: CallOptions,
  ): Promise<Response> {
    const publicOnly = mustBePublic(url, this.#rules);
    const wanted = { url, method, headers, publicOnly, guard: fileGuard(this.#rules), signal: call.signal };
    return answered(
      async () => (await exchange(wanted, this.#agents, this.#options)).response,
      { accept, explain: (response) => this.#explain(response, url) },
      this.#options,
      call,
    );
  }

  async #explain(response: Response, url: URL): Promise<DrakkarError> {
    discard(response, this.#options);
    const { status } = response;
    const message = `${url.host} answered ${status} for ${withoutQuery(url)}`;
    const details = { url: withoutQuery(url), status };
    if (status === 401 || status === 403) {
      return new DrakkarError(status === 401 ? 'unauthorized' : 'forbidden', message, {
        hint: 'only files that the server gives to everybody can be fetched: no credentials are sent',
        details,
      });
    }
    if (status === 404 || status === 410) {
      return new DrakkarError('not_found', message, { hint: 'check the URL', details });
    }
    if (isTransientStatus(status)) {
      const hint = 'the server is busy or ill: try again later';
      return new DrakkarError('unavailable', message, { hint, details });
    }
    return new DrakkarError('unsupported', message, { details });
  }
}

function versionOf(response: Response): FileVersion {
  return {
    etag: response.headers.get('etag'),
    lastModified: response.headers.get('last-modified'),
    sizeBytes: wholeLength(response),
  };
}

/** What `If-Range` may name: a strong ETag, else the date. Source: RFC 9110, 13.1.5. */
export function validatorOf({ etag, lastModified }: FileVersion): string | undefined {
  return etag?.startsWith('"') ? etag : (lastModified ?? undefined);
}

function conditionsOf(seen: FileVersion | undefined): Record<string, string> {
  if (seen === undefined) return {};
  if (seen.etag !== null) return { 'if-none-match': seen.etag };
  return seen.lastModified === null ? {} : { 'if-modified-since': seen.lastModified };
}

/** What one of the two does not say is no difference. Pure. */
export function isSameVersion(a: FileVersion, b: FileVersion): boolean {
  const agree = <Value>(one: Value | null | undefined, other: Value | null | undefined) =>
    one == null || other == null || one === other;
  return agree(a.etag, b.etag) && agree(a.lastModified, b.lastModified) && agree(a.sizeBytes, b.sizeBytes);
}

/** The sha256 that a server says, in today's field or the one before. Source: RFC 9530, RFC 3230. Pure. */
export function digestOf({ headers }: Pick<Response, 'headers'>): Digest | undefined {
  const said = `${headers.get('repr-digest') ?? ''},${headers.get('digest') ?? ''}`;
  const base64 = /(?:^|,)\s*sha-256=:?([A-Za-z0-9+/]{43}=):?\s*(?:,|;|$)/i.exec(said)?.[1];
  return base64 === undefined ? undefined : digestFromHex(Buffer.from(base64, 'base64').toString('hex'));
}

function changed(what: string): DrakkarError {
  return new DrakkarError('invalid_content', `${what} became another file during the transfer`, {
    hint: 'try again when whoever publishes it has finished',
    details: { changed: true },
  });
}

/** By all that its server says it is the same. */
function cutShort(what: string, said: number | undefined, found: number | undefined): DrakkarError {
  const saidBytes = said === undefined ? 'more' : `${said} bytes`;
  const has = found === undefined ? 'fewer bytes' : `${found} bytes`;
  return new DrakkarError('invalid_content', `${what} has ${has}, though its server had said ${saidBytes}`, {
    hint: 'it is cut short, or still being written: try again later, or tell whoever runs the server',
    details: { changed: true },
  });
}

function unproven(what: string): DrakkarError {
  return new DrakkarError(
    'invalid_content',
    `${what} broke off, and its server says nothing by which to know the rest for a part of the same`,
    { hint: 'try again, or say its sha256', details: { changed: true } },
  );
}
