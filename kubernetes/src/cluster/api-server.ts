import { setTimeout as sleep } from 'node:timers/promises';
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import { type Dispatcher, fetch, type Response } from 'undici';
import {
  type ApiServer,
  type Call,
  type Status,
  StatusError,
  type WatchCall,
  type WatchEvent,
} from './contract.ts';
import { Pace } from './pace.ts';
import { delayMs } from './retry.ts';

export interface ApiServerOptions {
  /** A kubeconfig file; that of the pod it runs in where `null`. */
  readonly kubeconfig: string | null;
  /** Of that file; its own where `null`. */
  readonly context: string | null;
}

/** Tokens are read again this often: those of pods are replaced while they run. */
const CREDENTIALS_MS = 60_000;
const REQUEST_MS = 60_000;
/** A watch sends bookmarks each minute where anything happens at all: without one for so long it may be dead, and is begun anew. */
const SILENCE_MS = 3 * 60_000;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const MAX_EVENT_BYTES = 8 * 1024 * 1024;

/** Of all requests but watches. The server says itself when it has too much to do; this is for the moments before it does. */
const RATE_PER_SECOND = 200;
const BURST = 400;

interface Credentials {
  readonly atMs: number;
  readonly headers: Record<string, string>;
  readonly dispatcher: Dispatcher | undefined;
}

/** @throws `Error` for a kubeconfig that can’t be read, or has nothing of that name */
export function connectApiServer({ kubeconfig, context }: ApiServerOptions): ApiServer {
  const config = new Config();
  if (kubeconfig === null) config.loadFromCluster();
  else config.loadFromFile(kubeconfig);
  if (context !== null) config.setCurrentContext(context);
  return new HttpApiServer(config);
}

/** With HTTP/1.1: where the server goes away in the middle of HTTP/2, undici 8.13 throws what nobody can catch (“other side closed”), and the process ends. */
class Config extends KubeConfig {
  override createDispatcherOptions(...of: Parameters<KubeConfig['createDispatcherOptions']>) {
    const options = super.createDispatcherOptions(...of);
    if (options.type !== 'agent') return options;
    return { ...options, connect: { ...options.connect, allowH2: false } };
  }
}

class HttpApiServer implements ApiServer {
  readonly #config: KubeConfig;
  readonly #server: string;
  readonly #pace = new Pace(RATE_PER_SECOND, BURST);
  #credentials: Credentials | undefined;

  constructor(config: KubeConfig) {
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new Error('the kubeconfig names no cluster');
    this.#config = config;
    this.#server = cluster.server.replace(/\/+$/, '');
  }

  async request<T>(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    { signal, ...call }: Call = {},
  ): Promise<T> {
    const deadline = AbortSignal.timeout(REQUEST_MS);
    const both = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    const waitMs = this.#pace.turn(performance.now());
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: both }).catch(fail);
    const response = await this.#sendPatiently(method, path, call, both);
    const text = await textOf(response, MAX_ANSWER_BYTES);
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new StatusError({ message: `what answers is no API server: ${text.slice(0, 100)}` }, { cause });
    }
  }

  async *watch(path: string, { query, signal, opened, ...call }: WatchCall = {}): AsyncGenerator<WatchEvent> {
    const ending = new AbortController();
    const silence = setTimeout(() => ending.abort(), SILENCE_MS);
    const both = signal === undefined ? ending.signal : AbortSignal.any([signal, ending.signal]);
    let isOpen = false;
    try {
      const response = await this.#send('GET', path, { ...call, query: { ...query, watch: true } }, both);
      isOpen = true;
      opened?.();
      for await (const line of linesOf(response.body ?? [], () => silence.refresh())) yield eventOf(line);
    } catch (cause) {
      if (isOpen && ending.signal.aborted) return;
      if (cause instanceof StatusError) throw cause;
      throw unreachable(cause);
    } finally {
      clearTimeout(silence);
      ending.abort();
    }
  }

  /** What the server has put off is asked again when it said, as long as there is time. Source: client-go, `rest/with_retry.go`. */
  async #sendPatiently(method: string, path: string, call: Call, signal: AbortSignal): Promise<Response> {
    for (let times = 1; ; times += 1) {
      try {
        return await this.#send(method, path, call, signal);
      } catch (error) {
        if (!(error instanceof StatusError) || !error.isPutOff) throw error;
        const isOver = await sleep(delayMs(times, error.retryAfterMs), false, { signal }).catch(() => true);
        if (isOver) throw error;
      }
    }
  }

  async #send(method: string, path: string, call: Call, signal: AbortSignal): Promise<Response> {
    const { query = {}, body, contentType = 'application/json', accept = 'application/json' } = call;
    const url = new URL(this.#server + path);
    // What it has made another path of may mean what nobody has asked for.
    if (!url.href.endsWith(path)) throw new StatusError({ message: `${path} is no path` });
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const { headers, dispatcher } = await this.#credentialsNow();
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: { ...headers, accept, ...(body === undefined ? {} : { 'content-type': contentType }) },
        body: body === undefined ? null : JSON.stringify(body),
        redirect: 'error',
        signal,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
    } catch (cause) {
      throw unreachable(cause);
    }
    if (response.ok) return response;
    // It may have been replaced.
    if (response.status === 401) this.#credentials = undefined;
    throw await refusalOf(response);
  }

  async #credentialsNow(): Promise<Credentials> {
    const nowMs = performance.now();
    const known = this.#credentials;
    if (known !== undefined && nowMs - known.atMs < CREDENTIALS_MS) return known;
    const context = new RequestContext(this.#server, HttpMethod.GET);
    await this.#config.applySecurityAuthentication(context);
    // The connections stay: each dispatcher has its own.
    const dispatcher = known?.dispatcher ?? (context.getDispatcher() as Dispatcher | undefined);
    this.#credentials = { atMs: nowMs, headers: context.getHeaders(), dispatcher };
    return this.#credentials;
  }
}

async function* linesOf(
  body: AsyncIterable<Uint8Array> | Iterable<never>,
  heard: () => void,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const part of body) {
    heard();
    const [first = '', ...more] = decoder.decode(part, { stream: true }).split('\n');
    rest += first;
    for (const next of more) {
      yield rest;
      rest = next;
    }
    if (rest.length > MAX_EVENT_BYTES) throw new StatusError({ message: 'an event is too large' });
  }
}

function eventOf(line: string): WatchEvent {
  try {
    return JSON.parse(line) as WatchEvent;
  } catch (cause) {
    throw new StatusError({ message: `no event: ${line.slice(0, 100)}` }, { cause });
  }
}

async function refusalOf(response: Response): Promise<StatusError> {
  const text = await textOf(response, MAX_EVENT_BYTES).catch(() => '');
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined;
  return new StatusError({ ...statusOf(text), code: response.status }, { retryAfterMs });
}

function statusOf(text: string): Status {
  try {
    const { reason, message, details } = JSON.parse(text) as Status;
    return {
      ...(typeof reason === 'string' ? { reason } : {}),
      message: typeof message === 'string' ? message : text.slice(0, 200),
      ...(typeof details === 'object' && details !== null ? { details } : {}),
    };
  } catch {
    return { message: text.slice(0, 200) };
  }
}

async function textOf(response: Response, mostBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const part of response.body ?? []) {
      bytes += part.length;
      if (bytes > mostBytes) throw new StatusError({ message: `an answer of more than ${mostBytes} bytes` });
      parts.push(part);
    }
  } catch (cause) {
    if (cause instanceof StatusError) throw cause;
    throw unreachable(cause);
  }
  return Buffer.concat(parts).toString('utf8');
}

const fail = (cause: unknown): never => {
  throw unreachable(cause);
};

function unreachable(cause: unknown): StatusError {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const message = inner instanceof Error ? inner.message : String(inner);
  return new StatusError({ message: `the API server can’t be reached: ${message}` }, { cause });
}
