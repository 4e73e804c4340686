import type { Readable } from 'node:stream';
import { DrakkarError, type RegistryCredential } from '@drakkar/protocol';
import type { Response } from 'node-fetch';
import { RateLimit } from '../rate-limit.ts';
import { type Agents, createAgents } from './agents.ts';
import { answered } from './answered.ts';
import { Authenticator, type Caller } from './authentication.ts';
import { readLimited } from './body.ts';
import { endpointOf } from './hosts.ts';
import type { UpstreamOptions } from './options.ts';
import { isTransientStatus } from './retry.ts';
import { discard, exchange, guardRedirect } from './transport.ts';

export interface RepositoryName {
  /** As references name it: `docker.io`, `ghcr.io`, `127.0.0.1:5000`. */
  readonly registry: string;
  /** `library/debian` */
  readonly repository: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly caller?: Caller;
  /** Instead of the client's `tries`. */
  readonly tries?: number | undefined;
}

export interface RegistryRequest {
  readonly name: RepositoryName;
  /** Below `/v2/REPOSITORY/`, or a URL that the registry gave. */
  readonly path: string | URL;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT';
  readonly actions?: 'pull' | 'pull,push';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: () => Readable | string;
  /** Statuses besides 2xx that the caller wants to see itself. */
  readonly accept?: readonly number[];
  /** For messages: `manifest latest`, `blob sha256:…`. */
  readonly what: string;
}

const MAX_ERROR_BYTES = 16 * 1024;

/** Requests to registries with everything around them: allowlist, authentication, redirects, retries, errors by status. */
export class Session implements Disposable {
  readonly options: UpstreamOptions;
  /** What blobs come at. */
  readonly rate: RateLimit;
  readonly #agents: Agents;
  readonly #authenticator: Authenticator;

  constructor(options: UpstreamOptions) {
    this.options = options;
    this.rate = new RateLimit(options.bytesPerSecond);
    this.#agents = createAgents(options);
    this.#authenticator = new Authenticator(options, this.#agents);
  }

  /**
   * An answer with status 2xx, or one of `accept`. Its body is the caller's to read or {@link discard}.
   * @throws `unauthorized` (with the registry's `challenge` in the details) | `forbidden` | `not_found` | `unavailable` |
   *   `timeout` | `cancelled` | …
   */
  async request(request: RegistryRequest, options: CallOptions): Promise<Response> {
    return await answered(
      () => this.#authenticated(request, options),
      { accept: request.accept, explain: (response) => this.#failure(response, request) },
      this.options,
      options,
    );
  }

  lend({ registry, repository }: RepositoryName, authorization: string): void {
    this.#authenticator.lend({ registry, scope: scopeOf(repository) }, authorization);
  }

  entrust({ registry, repository }: RepositoryName, credential: RegistryCredential): void {
    this.#authenticator.entrust({ registry, scope: scopeOf(repository) }, credential);
  }

  discard(response: Response): void {
    discard(response, this.options);
  }

  [Symbol.dispose](): void {
    this.#agents[Symbol.dispose]();
  }

  async #authenticated(request: RegistryRequest, options: CallOptions): Promise<Response> {
    const { registry, repository } = request.name;
    const endpoint = endpointOf(registry, this.options);
    const url =
      request.path instanceof URL ? request.path : new URL(`/v2/${repository}/${request.path}`, endpoint);
    const isElsewhere = url.origin !== endpoint.origin;
    const publicOnly = isElsewhere && (await guardRedirect(endpoint, url, this.options));
    const question = {
      registry,
      repository,
      endpoint,
      scope: scopeOf(repository, request.actions),
      caller: options.caller,
      signal: options.signal,
    };
    const send = async (authorization: string | undefined): Promise<Response> => {
      const mayKnow = authorization !== undefined && !isElsewhere;
      const headers = { ...request.headers, ...(mayKnow ? { authorization } : {}) };
      const { method, body } = request;
      const answer = await exchange(
        { url, method, headers, body, publicOnly, signal: options.signal },
        this.#agents,
        this.options,
      );
      return answer.response;
    };
    const first = await this.#authenticator.foresee(question);
    const response = await send(first);
    const challenge = response.headers.get('www-authenticate');
    if (response.status !== 401 || challenge === null) return response;
    const second = await this.#authenticator.answer(challenge, question, first);
    if (second === undefined) return response;
    this.discard(response);
    return send(second);
  }

  async #failure(response: Response, request: RegistryRequest): Promise<DrakkarError> {
    const { status } = response;
    const challenge = response.headers.get('www-authenticate');
    const said = await this.#reason(response);
    const { registry, repository } = request.name;
    const message = `${registry} answered ${status} for ${request.what} of ${repository}${said}`;
    const details = { registry, repository, status, challenge };
    if (status === 401) {
      return new DrakkarError('unauthorized', message, {
        hint: `log in to ${registry}, or correct the stored credential`,
        details,
      });
    }
    if (status === 403) {
      return new DrakkarError('forbidden', message, { hint: 'ask for access to the repository', details });
    }
    if (status === 404) {
      return new DrakkarError('not_found', message, { hint: 'check the name of the image', details });
    }
    if (status === 416) return new DrakkarError('invalid_content', message, { details });
    if (isTransientStatus(status)) {
      return new DrakkarError('unavailable', message, {
        hint: 'the registry is busy or ill: try again later',
        details,
      });
    }
    return new DrakkarError('unsupported', message, { details });
  }

  /** The first error that the registry names, as `: CODE: message`; nothing when it names none. */
  async #reason(response: Response): Promise<string> {
    try {
      const bytes = await readLimited(response, MAX_ERROR_BYTES, 'the error', this.options);
      const { errors } = JSON.parse(bytes.toString('utf8')) as {
        errors?: { code?: unknown; message?: unknown }[];
      };
      const first = errors?.[0];
      return first === undefined ? '' : `: ${String(first.code)}: ${String(first.message)}`.slice(0, 300);
    } catch {
      return '';
    }
  }
}

const scopeOf = (repository: string, actions = 'pull') => `repository:${repository}:${actions}`;
