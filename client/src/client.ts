import { type IncomingMessage, request } from 'node:http';
import { DrakkarError, type ErrorDocument, errnoOf } from '@drakkar/errors';
import type { Digest } from '@drakkar/protocol';
import type {
  BlobSummary,
  BuildResult,
  BuildSnapshotRequest,
  DaemonStatus,
  MountResult,
  ProgressEvent,
  PullRequest,
  PullResult,
  SnapshotDetail,
  SnapshotSummary,
  StartRequest,
  StartResult,
  VerifyResult,
} from './api.ts';

export interface AdminCall<Result> {
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: ProgressEvent<Result>) => void) | undefined;
}

/** A client of the admin API. Every call may throw what the daemon threw; `unavailable` where no daemon answers. */
export class AdminClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  status(signal?: AbortSignal): Promise<DaemonStatus> {
    return this.#json('GET', '/v1/status', signal);
  }

  pull(body: PullRequest, call: AdminCall<PullResult> = {}): Promise<PullResult> {
    return this.#events('POST', '/v1/pulls', body, call);
  }

  blobs(signal?: AbortSignal): Promise<BlobSummary[]> {
    return this.#json('GET', '/v1/blobs', signal);
  }

  snapshots(signal?: AbortSignal): Promise<SnapshotSummary[]> {
    return this.#json('GET', '/v1/snapshots', signal);
  }

  /** `name` is an image reference, a manifest digest or the first hex digits of one. */
  snapshot(name: string, signal?: AbortSignal): Promise<SnapshotDetail> {
    return this.#json('GET', snapshotPath(name), signal);
  }

  buildSnapshot(body: BuildSnapshotRequest, call: AdminCall<BuildResult> = {}): Promise<BuildResult> {
    return this.#events('POST', '/v1/snapshots', body, call);
  }

  verifySnapshot(name: string, call: AdminCall<VerifyResult> = {}): Promise<VerifyResult> {
    return this.#events('POST', snapshotPath(name, '/verify'), {}, call);
  }

  mountSnapshot(name: string, signal?: AbortSignal): Promise<MountResult> {
    return this.#json('POST', snapshotPath(name, '/mount'), signal);
  }

  async umountSnapshot(name: string, signal?: AbortSignal): Promise<void> {
    await this.#json('POST', snapshotPath(name, '/umount'), signal);
  }

  async removeSnapshot(name: string, signal?: AbortSignal): Promise<void> {
    await this.#json('DELETE', snapshotPath(name), signal);
  }

  /** The flat image, as bytes. */
  async flatImage(name: string, signal?: AbortSignal): Promise<IncomingMessage> {
    return successful(await this.#send('GET', snapshotPath(name, '/flat'), undefined, signal));
  }

  start(body: StartRequest, call: AdminCall<StartResult> = {}): Promise<StartResult> {
    return this.#events('POST', '/v1/starts', body, call);
  }

  async endStart(id: string, signal?: AbortSignal): Promise<void> {
    await this.#json('DELETE', `/v1/starts/${encodeURIComponent(id)}`, signal);
  }

  async #json<Result>(method: string, path: string, signal?: AbortSignal): Promise<Result> {
    const response = await successful(await this.#send(method, path, undefined, signal));
    const text = await textOf(response);
    return (text === '' ? undefined : JSON.parse(text)) as Result;
  }

  async #events<Result>(
    method: string,
    path: string,
    body: object,
    call: AdminCall<Result>,
  ): Promise<Result> {
    const response = await successful(await this.#send(method, path, body, call.signal));
    let cause: unknown;
    try {
      for await (const line of linesOf(response)) {
        const event = JSON.parse(line) as ProgressEvent<Result>;
        if (event.type === 'error') throw DrakkarError.fromJSON(event.error);
        call.onEvent?.(event);
        if (event.type === 'result') return event.result;
      }
    } catch (error) {
      if (error instanceof DrakkarError) throw error;
      cause = error;
    }
    if (call.signal?.aborted) throw new DrakkarError('cancelled', 'the call was cancelled', { cause });
    throw new DrakkarError('unavailable', 'the daemon ended the connection before it had finished', {
      hint: 'look at the daemon’s log, then try again: what was done so far is kept',
      cause,
    });
  }

  #send(
    method: string,
    path: string,
    body: object | undefined,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const headers = payload === undefined ? {} : { 'content-type': 'application/json' };
      const options = { socketPath: this.socketPath, method, path, headers, ...(signal ? { signal } : {}) };
      const outgoing = request(options, resolve);
      outgoing.once('error', (cause) => reject(this.#unreachable(cause)));
      outgoing.end(payload);
    });
  }

  #unreachable(cause: Error): Error {
    if (cause.name === 'AbortError')
      return new DrakkarError('cancelled', 'the call was cancelled', { cause });
    const denied = errnoOf(cause) === 'EACCES';
    return new DrakkarError('unavailable', `no daemon answers at ${this.socketPath}: ${cause.message}`, {
      hint: denied
        ? 'run this as the user that runs the daemon, or as root'
        : 'start one with `drakkar up` (as root)',
      cause,
    });
  }
}

function snapshotPath(name: string | Digest, action = ''): string {
  return `/v1/snapshots/${encodeURIComponent(name)}${action}`;
}

async function successful(response: IncomingMessage): Promise<IncomingMessage> {
  if ((response.statusCode ?? 500) < 300) return response;
  const text = await textOf(response);
  let document: ErrorDocument;
  try {
    document = JSON.parse(text) as ErrorDocument;
  } catch {
    document = {
      code: 'internal',
      message: `the daemon answered ${response.statusCode}: ${text.slice(0, 300)}`,
    };
  }
  throw DrakkarError.fromJSON(document);
}

async function textOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

/** `node:readline` would do it, and take ten milliseconds of every command to load. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const text of response.setEncoding('utf8')) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}
