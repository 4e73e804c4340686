import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Digest, DrakkarError } from '@drakkar/protocol';
import { listen, TRACE_HEADER, type Tracing } from '@drakkar/service';
import type { Content } from '../content/index.ts';
import type { Store } from '../store/index.ts';
import { type Caller, OWN, type RegistryClient, type RepositoryName } from '../upstream/index.ts';
import { announce, isExpected, notHere, refuse } from './answers.ts';
import { ManifestService } from './manifests.ts';
import { MIRROR_DEFAULTS, type MirrorOptions } from './options.ts';
import { selectRange } from './range.ts';
import { parseRoute, type Route } from './route.ts';
import { sendRange } from './send.ts';
import { Verdicts } from './verdicts.ts';

export interface MirrorModules {
  readonly client: RegistryClient;
  readonly store: Store;
  readonly content: Content;
  readonly log: MirrorLog;
  readonly tracing: Tracing;
  /** Milliseconds since 1970; the system's clock when absent. */
  readonly now?: () => number;
}

export interface MirrorLog {
  debug(context: object, message: string): void;
  warn(context: object, message: string): void;
}

export interface Mirror extends AsyncDisposable {
  /** `http://127.0.0.1:4001` */
  readonly url: string;
  readonly port: number;
  /** Ends open transfers abruptly. */
  close(): Promise<void>;
}

const MAX_HEADER_BYTES = 32 * 1024;
const KEEP_ALIVE_MS = 60_000;

/** Listens when it returns. @throws `busy` when the port is taken */
export async function serveMirror(options: Partial<MirrorOptions>, modules: MirrorModules): Promise<Mirror> {
  const complete = { ...MIRROR_DEFAULTS, ...options };
  const handler = new MirrorHandler(complete, modules);
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: complete.headersTimeoutMs,
      requestTimeout: complete.headersTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
    },
    (request, response) => {
      void handler.handle(request, response);
    },
  );
  server.maxConnections = complete.maxConnections;
  const port = await listen(server, {
    address: complete.address,
    port: complete.port,
    what: 'the mirror',
    settings: 'mirror',
    instead: 'set mirror.port to a free port, in hosts.toml too',
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
    return closed;
  };
  const host = complete.address.includes(':') ? `[${complete.address}]` : complete.address;
  return { url: `http://${host}:${port}`, port, close, [Symbol.asyncDispose]: close };
}

class MirrorHandler {
  readonly #options: MirrorOptions;
  readonly #modules: MirrorModules;
  readonly #verdicts: Verdicts;
  readonly #manifests: ManifestService;

  constructor(options: MirrorOptions, modules: MirrorModules) {
    const now = modules.now ?? Date.now;
    this.#options = options;
    this.#modules = modules;
    this.#verdicts = new Verdicts(options, now);
    this.#manifests = new ManifestService(options, { ...modules, verdicts: this.#verdicts, now });
  }

  /** Never rejects: what fails before the headers is an answer, what fails after them cuts the connection. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const path = url.split('?')[0] ?? '';
    const span = this.#modules.tracing.begin(`mirror ${method}`, {
      traceparent: headers.traceparent,
      attributes: { 'http.request.method': method, 'url.path': path },
    });
    response.setHeader(TRACE_HEADER, span.context.traceId);
    await span.run(() => this.#handle(request, response));
    span.set({ 'http.response.status_code': response.statusCode });
    span.end();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const leaving = new AbortController();
    response.once('close', () => leaving.abort());
    const { log } = this.#modules;
    const asked = { method: request.method, url: request.url };
    try {
      await this.#answer(request, response, leaving.signal);
      log.debug({ ...asked, status: response.statusCode }, 'the mirror has answered a request');
    } catch (error) {
      const context = { ...asked, error };
      if (isExpected(error)) log.debug(context, 'the mirror has no content for a request');
      else log.warn(context, 'the mirror could not serve a request');
      if (response.headersSent) response.destroy();
      else refuse(response, error);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      notHere(response, 405, { allow: 'GET, HEAD' });
      return;
    }
    const route = parseRoute(request.url ?? '', this.#options.defaultRegistry);
    if (
      route === undefined ||
      (route.kind !== 'base' && !this.#modules.client.allows(route.image.registry))
    ) {
      notHere(response);
      return;
    }
    const caller = this.#callerOf(request);
    if (route.kind === 'base') notHere(response, 200);
    else if (route.kind === 'blob')
      await this.#blob(route.image, route.digest, caller, request, response, signal);
    else await this.#manifest(route, caller, response, signal);
  }

  #callerOf(request: IncomingMessage): Caller {
    const nobody: Caller = this.#options.anonymousUsesDaemonCredentials ? OWN : null;
    return request.headers.authorization ?? nobody;
  }

  async #manifest(
    route: Exclude<Route, { kind: 'base' | 'blob' }>,
    caller: Caller,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const wanted = { image: route.image, caller, signal };
    const resolved = route.kind === 'tag' ? await this.#manifests.resolveTag(route.tag, wanted) : undefined;
    const digest = route.kind === 'tag' ? resolved?.digest : route.digest;
    if (digest === undefined) throw new DrakkarError('internal', 'a tag was resolved to nothing');
    if (response.req.method === 'HEAD') {
      const described = resolved ?? (await this.#manifests.describe(digest, wanted));
      this.#lend(route.image, caller);
      announce(response, headersOf(digest, described.sizeBytes, described.mediaType));
      response.end();
      return;
    }
    const { bytes, mediaType } = await this.#manifests.fetch(digest, wanted);
    this.#lend(route.image, caller);
    announce(response, headersOf(digest, bytes.length, mediaType));
    response.end(bytes);
  }

  /** Whoever pulls has a right to the image, which whoever has it mounted needs as well. */
  #lend(image: RepositoryName, caller: Caller): void {
    if (typeof caller === 'string' && this.#options.lendCredentials) this.#modules.client.lend(image, caller);
  }

  async #blob(
    image: RepositoryName,
    digest: Digest,
    caller: Caller,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, content, store } = this.#modules;
    const question = { caller, image, digest };
    const call = { caller, signal, tries: this.#options.upstreamTries };
    const ask = () => client.headBlob(image, digest, call);
    const stored = store.stat(digest);
    const isHere = stored?.complete === true && stored.origins.includes(image.registry);
    if (request.method === 'HEAD' && !isHere) {
      const sizeBytes = await ask();
      this.#verdicts.allow(question);
      if (sizeBytes !== undefined) {
        announce(response, headersOf(digest, sizeBytes, undefined));
        response.end();
        return;
      }
    }
    let asked = false;
    const authorize = async () => {
      asked = true;
      await this.#verdicts.check(question, ask);
    };
    await using blob = await content.open({ image, digest, caller }, { signal, authorize });
    if (!asked) this.#verdicts.allow(question);
    const range =
      request.headers['if-range'] === undefined
        ? selectRange(request.headers.range, blob.sizeBytes)
        : undefined;
    if (range === 'unsatisfiable') {
      notHere(response, 416, { 'content-range': `bytes */${blob.sizeBytes}` });
      return;
    }
    const { start, end } = range ?? { start: 0, end: blob.sizeBytes };
    announce(response, {
      ...headersOf(digest, end - start, undefined),
      'accept-ranges': 'bytes',
      ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${blob.sizeBytes}` }),
    });
    if (request.method === 'HEAD') response.end();
    else await sendRange(response, blob, { start, end }, this.#options.writeTimeoutMs);
  }
}

function headersOf(digest: Digest, sizeBytes: number, mediaType: string | undefined) {
  return {
    'content-type': mediaType ?? 'application/octet-stream',
    'content-length': sizeBytes,
    'docker-content-digest': digest,
  };
}
