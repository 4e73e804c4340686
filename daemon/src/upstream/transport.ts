import { Readable } from 'node:stream';
import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { currentSpan, formatTraceparent, inSpan } from '@drakkar/service';
import fetch, { type Response } from 'node-fetch';
import { type Agents, onceConnected, PRIVATE_ADDRESS } from './agents.ts';
import { bareHostname, isPrivateAddress, isPrivateHost, listed } from './hosts.ts';
import type { UpstreamOptions } from './options.ts';

/** One HTTP exchange, redirects included; no retries and no authentication. */
export interface Exchange {
  readonly url: URL;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  /** Makes the body anew for each time that it is sent. */
  readonly body?: (() => Readable | string) | undefined;
  /** The body holds a credential, which no other origin gets to see. */
  readonly secretBody?: boolean;
  /** No private address may turn out to be behind the URL's name: see {@link guardRedirect}. */
  readonly publicOnly?: boolean;
  /** What says where redirects may lead; that of registries when absent. */
  readonly guard?: RedirectGuard;
  readonly signal: AbortSignal | undefined;
}

/** What says where a redirect may lead. */
export interface RedirectGuard {
  /** The setting that lets private addresses be. */
  readonly setting: string;
  /** Whether the connection must refuse private addresses. @throws `forbidden` */
  follow(from: URL, to: URL): boolean;
}

/** An answer, and the URL that gave it after redirects. */
export interface Answer {
  readonly response: Response;
  readonly url: URL;
}

const USER_AGENT = 'drakkar/0.1';
const DRAINED_BYTES = 16 * 1024;

/** Frees the connection of an answer whose body nobody wants: kept alive when the rest is short. */
export function discard(response: Response, options: Pick<UpstreamOptions, 'answerTimeoutMs'>): void {
  const body = response.body;
  if (!(body instanceof Readable)) return;
  body.on('error', () => {});
  const length = Number(response.headers.get('content-length') ?? Number.NaN);
  if (!(length <= DRAINED_BYTES)) {
    body.destroy();
    return;
  }
  const timer = setTimeout(() => body.destroy(), options.answerTimeoutMs).unref();
  body.once('close', () => clearTimeout(timer));
  body.resume();
}

/**
 * @throws `unavailable` | `timeout` | `cancelled`; `forbidden` for a redirect that must not be followed; `limit_exceeded` for
 *   too many of them, or a length that can't be
 */
export async function exchange(wanted: Exchange, agents: Agents, options: UpstreamOptions): Promise<Answer> {
  let url = wanted.url;
  let headers = wanted.headers;
  let publicOnly = wanted.publicOnly === true;
  for (let hops = 0; ; hops += 1) {
    const asked = { ...wanted, url, headers };
    const response = await traced(asked, () => once(asked, agents, options, publicOnly));
    const target = redirectTarget(response, url, wanted.method);
    if (target === undefined) {
      requireSafeLength(response, url, options);
      return { response, url };
    }
    discard(response, options);
    if (hops >= options.redirects) {
      throw new DrakkarError(
        'limit_exceeded',
        `${wanted.url.host} redirected more than ${options.redirects} times for ${wanted.url.pathname}`,
      );
    }
    if (wanted.guard !== undefined) {
      publicOnly = wanted.guard.follow(url, target);
    } else if (target.host !== url.host) {
      publicOnly = await guardRedirect(wanted.url, target, options);
    } else if (!isAsSafe(url, target)) {
      throw otherScheme(url, target);
    }
    if (target.origin !== url.origin) {
      if (wanted.secretBody === true) throw wouldTell(wanted.url, target);
      headers = withoutAuthorization(headers);
    }
    url = target;
  }
}

function redirectTarget(response: Response, from: URL, method: string): URL | undefined {
  const { status } = response;
  const follows = status === 307 || status === 308 || (status >= 301 && status <= 303);
  const location = response.headers.get('location');
  if (!follows || location === null) return undefined;
  if (status <= 303 && method !== 'GET' && method !== 'HEAD') return undefined;
  if (!URL.canParse(location, from.href)) return undefined;
  return new URL(location, from);
}

function isAsSafe(from: URL, to: URL): boolean {
  return to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol !== 'https:');
}

/** A redirect to another scheme that is not followed. */
export function otherScheme(from: URL, to: URL): DrakkarError {
  const how = to.protocol === 'http:' ? 'redirected from https to' : 'redirected to';
  return new DrakkarError('forbidden', `${from.host} ${how} ${to.protocol}//${to.host}`, {
    hint: `the server must redirect to https${from.protocol === 'http:' ? ' or http' : ''}`,
  });
}

/** @throws `limit_exceeded` where an answer says a length that no number here can be */
function requireSafeLength(response: Response, { origin, pathname }: URL, options: UpstreamOptions): void {
  const { headers } = response;
  const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  for (const said of [headers.get('content-length'), total]) {
    if (said == null || Number.isSafeInteger(Number(said))) continue;
    discard(response, options);
    throw new DrakkarError('limit_exceeded', `${origin}${pathname} is said to have ${said} bytes`, {
      hint: 'nothing is so large: the server or something before it is broken',
    });
  }
}

function wouldTell(from: URL, to: URL): DrakkarError {
  return new DrakkarError('forbidden', `${from.host} redirected a request with a credential to ${to.host}`, {
    hint: 'the token server must answer such requests itself',
  });
}

/**
 * Whether a URL that a registry named may be asked: never plain HTTP after HTTPS, and no private address for a public
 * registry. The result says whether the connection itself must check the address again.
 */
export async function guardRedirect(from: URL, to: URL, options: UpstreamOptions): Promise<boolean> {
  if (!isAsSafe(from, to)) throw otherScheme(from, to);
  if (listed(options.allowPrivateRedirects, to.host) || (await isPrivateHost(from))) return false;
  if (isPrivateAddress(bareHostname(to))) {
    throw new DrakkarError('forbidden', `${from.host} redirected to the private address ${to.host}`, {
      hint: 'add the host to registries.allowPrivateRedirects if that is meant',
    });
  }
  return true;
}

function withoutAuthorization(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'));
}

/** One request, redirects apart: whom it goes to is known, where it leads may be a secret. */
async function traced({ method, url }: Exchange, request: () => Promise<Response>): Promise<Response> {
  const attributes = { 'http.request.method': method, 'server.address': url.host };
  return await inSpan(`upstream ${method}`, { kind: 'client', attributes }, async () => {
    const response = await request();
    currentSpan()?.set({ 'http.response.status_code': response.status });
    return response;
  });
}

/** Only for who may know. */
function traceHeaders({ tellsTrace }: UpstreamOptions): Record<string, string> {
  const span = tellsTrace ? currentSpan() : undefined;
  return span === undefined ? {} : { traceparent: formatTraceparent(span.context) };
}

async function once(
  wanted: Exchange,
  agents: Agents,
  options: UpstreamOptions,
  publicOnly: boolean,
): Promise<Response> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const startClock = () => {
    clearTimeout(timer);
    timer = setTimeout(() => late.abort(), options.answerTimeoutMs);
  };
  const signal = wanted.signal === undefined ? late.signal : AbortSignal.any([wanted.signal, late.signal]);
  const body = wanted.body?.();
  try {
    return await fetch(wanted.url.href, {
      method: wanted.method,
      redirect: 'manual',
      compress: false,
      headers: {
        'user-agent': USER_AGENT,
        'accept-encoding': 'identity',
        ...traceHeaders(options),
        ...wanted.headers,
      },
      agent: onceConnected(agents.for(wanted.url, publicOnly), startClock),
      signal,
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : sendingKeepsAlive(body, startClock) }),
    });
  } catch (error) {
    throw explain(error, wanted, late.signal.aborted, options);
  } finally {
    clearTimeout(timer);
  }
}

/** While a body still moves, the registry need not answer yet. */
function sendingKeepsAlive(body: Readable, startClock: () => void): Readable {
  return Readable.from(
    (async function* () {
      for await (const chunk of body) {
        startClock();
        yield chunk;
      }
      startClock();
    })(),
    { objectMode: false },
  );
}

function explain(error: unknown, wanted: Exchange, late: boolean, options: UpstreamOptions): DrakkarError {
  const where = `${wanted.method} ${wanted.url.origin}${wanted.url.pathname}`;
  if (wanted.signal?.aborted === true) {
    return new DrakkarError('cancelled', `${where} was cancelled`, { cause: error });
  }
  if (late) {
    return new DrakkarError('timeout', `${where}: no answer within ${options.answerTimeoutMs} ms`, {
      hint: 'check that the server is reachable; registries.answerTimeoutMs is how long to wait',
    });
  }
  // Its own message names the whole URL, whose query may be a signature; so it is no cause for a log either.
  const why = (error instanceof Error ? error.message : String(error)).replace(
    /^request to \S+ failed, reason: /,
    '',
  );
  const code = errnoOf(error);
  if (code === PRIVATE_ADDRESS) {
    const setting = wanted.guard?.setting ?? 'registries.allowPrivateRedirects';
    return new DrakkarError('forbidden', `${where}: ${why}`, {
      hint: `add the host to ${setting} if that is meant`,
    });
  }
  if (code !== undefined && /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)) {
    return new DrakkarError('forbidden', `${where}: the certificate is not trusted (${code})`, {
      hint: 'add the authority’s PEM file to registries.caFiles',
    });
  }
  return new DrakkarError('unavailable', `${where}: ${why}`, {
    hint: 'check that the server is up and the network and proxy settings are right',
    details: { errno: code ?? null },
  });
}
