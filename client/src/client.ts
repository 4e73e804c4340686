import { DrakkarError, type ErrorDocument } from '@drakkar/errors';
import type { Digest } from '@drakkar/protocol';
import type {
  BlobSummary,
  BuildResult,
  BuildSnapshotRequest,
  DaemonStatus,
  GetRequest,
  GetResult,
  MountResult,
  ProgressEvent,
  PullRequest,
  PullResult,
  SnapshotDetail,
  SnapshotSummary,
  SnapshotTrace,
  StartRequest,
  StartResult,
  StartStatus,
  VerifyResult,
} from './api.ts';
import { type Answer, cutOff, exchange } from './exchange.ts';

export interface AdminCall<Result> {
  readonly signal?: AbortSignal | undefined;
  /** The request is on its way: time for what need not wait for the answer. */
  readonly onSent?: (() => void) | undefined;
  readonly onEvent?: ((event: ProgressEvent<Result>) => void) | undefined;
}

/** Requests to the admin API at one socket. Every call may throw what the other side threw; `unavailable` where nobody answers. */
class SocketClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  protected async json<Result>(method: string, path: string, signal?: AbortSignal): Promise<Result> {
    const text = await textOf(await this.send(method, path, undefined, { signal }));
    return (text === '' ? undefined : JSON.parse(text)) as Result;
  }

  protected async send(
    method: string,
    path: string,
    body: object | undefined,
    call: Pick<AdminCall<never>, 'signal' | 'onSent'>,
  ): Promise<Answer> {
    const { signal, onSent } = call;
    const answer = await exchange({ socketPath: this.socketPath, method, path, body, signal, onSent });
    if (answer.status < 300) return answer;
    throw DrakkarError.fromJSON(errorDocument(answer.status, await textOf(answer)));
  }
}

/** A client of a daemon's admin API. */
export class AdminClient extends SocketClient {
  status(signal?: AbortSignal): Promise<DaemonStatus> {
    return this.json('GET', '/v1/status', signal);
  }

  pull(body: PullRequest, call: AdminCall<PullResult> = {}): Promise<PullResult> {
    return this.#events('POST', '/v1/pulls', body, call);
  }

  /** A file into the store; {@link content} has its bytes then. */
  get(body: GetRequest, call: AdminCall<GetResult> = {}): Promise<GetResult> {
    return this.#events('POST', '/v1/files', body, call);
  }

  /** Bytes of content that is here or on its way: all that were asked for, or an error at the end. */
  async content(
    digest: Digest,
    range: { readonly startBytes: number; readonly endBytes: number },
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Buffer>> {
    const path = `/v1/content/${digest}?start=${range.startBytes}&end=${range.endBytes}`;
    return (await this.send('GET', path, undefined, { signal })).body;
  }

  blobs(signal?: AbortSignal): Promise<BlobSummary[]> {
    return this.json('GET', '/v1/blobs', signal);
  }

  snapshots(signal?: AbortSignal): Promise<SnapshotSummary[]> {
    return this.json('GET', '/v1/snapshots', signal);
  }

  /** `name` is an image reference, a manifest digest or the first hex digits of one. */
  snapshot(name: string, signal?: AbortSignal): Promise<SnapshotDetail> {
    return this.json('GET', snapshotPath(name), signal);
  }

  buildSnapshot(body: BuildSnapshotRequest, call: AdminCall<BuildResult> = {}): Promise<BuildResult> {
    return this.#events('POST', '/v1/snapshots', body, call);
  }

  verifySnapshot(name: string, call: AdminCall<VerifyResult> = {}): Promise<VerifyResult> {
    return this.#events('POST', snapshotPath(name, '/verify'), {}, call);
  }

  /** What starts of it read. */
  snapshotTrace(name: string, signal?: AbortSignal): Promise<SnapshotTrace> {
    return this.json('GET', snapshotPath(name, '/trace'), signal);
  }

  mountSnapshot(name: string, signal?: AbortSignal): Promise<MountResult> {
    return this.json('POST', snapshotPath(name, '/mount'), signal);
  }

  async umountSnapshot(name: string, signal?: AbortSignal): Promise<void> {
    await this.json('POST', snapshotPath(name, '/umount'), signal);
  }

  async removeSnapshot(name: string, signal?: AbortSignal): Promise<void> {
    await this.json('DELETE', snapshotPath(name), signal);
  }

  /** The flat image, as bytes: all of them, or an error at the end. */
  async flatImage(name: string, signal?: AbortSignal): Promise<AsyncIterable<Buffer>> {
    return (await this.send('GET', snapshotPath(name, '/flat'), undefined, { signal })).body;
  }

  start(body: StartRequest, call: AdminCall<StartResult> = {}): Promise<StartResult> {
    return this.#events('POST', '/v1/starts', body, call);
  }

  startStatus(id: string, signal?: AbortSignal): Promise<StartStatus> {
    return this.json('GET', `/v1/starts/${encodeURIComponent(id)}`, signal);
  }

  async endStart(id: string, signal?: AbortSignal): Promise<void> {
    await this.json('DELETE', `/v1/starts/${encodeURIComponent(id)}`, signal);
  }

  async #events<Result>(
    method: string,
    path: string,
    body: object,
    call: AdminCall<Result>,
  ): Promise<Result> {
    for await (const line of linesOf(await this.send(method, path, body, call))) {
      const event = JSON.parse(line) as ProgressEvent<Result>;
      if (event.type === 'error') throw DrakkarError.fromJSON(event.error);
      call.onEvent?.(event);
      if (event.type === 'result') return event.result;
    }
    throw cutOff();
  }
}

function snapshotPath(name: string | Digest, action = ''): string {
  return `/v1/snapshots/${encodeURIComponent(name)}${action}`;
}

function errorDocument(status: number, text: string): ErrorDocument {
  try {
    return JSON.parse(text) as ErrorDocument;
  } catch {
    return { code: 'internal', message: `the daemon answered ${status}: ${text.slice(0, 300)}` };
  }
}

async function textOf({ body }: Answer): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

/** `node:readline` would do it, and take ten milliseconds of every command to load. */
async function* linesOf({ body }: Answer): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const part of body) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}
