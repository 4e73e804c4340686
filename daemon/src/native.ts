/**
 * The boundary to `drakkar-native`, whole: the same names in the same order as `native/src/wire.rs`.
 *
 * Frames of JSON over a unix socket, each with its length before it as a big-endian u32. The first frame of each side is
 * {@link Hello}.
 */
import { execFile } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import type { Probe } from '@drakkar/client';
import {
  type Digest,
  DrakkarError,
  type ErrorDocument,
  errnoOf,
  hexOf,
  isDrakkarError,
} from '@drakkar/protocol';

const PROTOCOL_VERSION = 1;
/** The status of a few thousand volumes. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
/** Mounting takes milliseconds; a disk that hangs must not hang the daemon. */
const DEFAULT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;

interface Hello {
  readonly version: number;
  /** Of the sender. */
  readonly pid: number;
}

/** What the kernel reads a local volume from; `auto` is files where the kernel can (≥ 6.12), else loop devices. */
export type Backing = 'auto' | 'file' | 'loop';

export interface MountVolume {
  readonly volume: string;
  readonly meta: Digest;
  /** In the order of the image's device slots. */
  readonly devices: readonly Digest[];
  readonly backing: Backing;
}

export interface PrepareOverlay {
  readonly overlay: string;
  readonly volume: string;
  /** Mount it as well; else only the directories are made and named. */
  readonly mount: boolean;
  /** The host's ids that stand for 0..size inside. */
  readonly idMap?: { readonly hostUid: number; readonly hostGid: number; readonly size: number };
}

export interface VolumeStatus {
  readonly volume: string;
  /** Hex digits of the raw digest. */
  readonly meta: string;
  readonly devices: readonly string[];
  readonly mounted: boolean;
  readonly backing: Exclude<Backing, 'auto'> | null;
  readonly path: string;
  readonly overlays: readonly string[];
}

export interface OverlayStatus {
  readonly overlay: string;
  readonly volume: string;
  readonly lowerdir: string;
  readonly upperdir: string;
  readonly workdir: string;
  readonly rootfs: string;
  readonly mounted: boolean;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

/** The verbs of the helper. All are idempotent; a call that was cut off may be made again. */
export interface NativeHelper extends AsyncDisposable {
  /** The process that answered last; `null` before any has. */
  readonly pid: number | null;
  probe(options?: CallOptions): Promise<Probe>;
  mountVolume(wanted: MountVolume, options?: CallOptions): Promise<VolumeStatus>;
  /** @throws `busy` while an overlay or a process uses it */
  umountVolume(volume: string, options?: CallOptions): Promise<void>;
  volumes(options?: CallOptions): Promise<VolumeStatus[]>;
  prepareOverlay(wanted: PrepareOverlay, options?: CallOptions): Promise<OverlayStatus>;
  /** @throws `busy` while a process uses it */
  removeOverlay(overlay: string, options?: CallOptions): Promise<void>;
  /** Attaches a flat image that is in the store; gives the device's path. */
  attachLoop(image: Digest, options?: CallOptions): Promise<string>;
  detachLoop(image: Digest, options?: CallOptions): Promise<void>;
}

/** A helper at a socket. It connects when it is first needed, and again after the helper has been restarted. */
export function nativeHelper(socketPath: string): NativeHelper {
  return new SocketHelper(socketPath);
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

class SocketHelper implements NativeHelper {
  readonly #socketPath: string;
  #connection: Promise<Connection> | undefined;
  #pid: number | null = null;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  get pid(): number | null {
    return this.#pid;
  }

  async probe(options?: CallOptions): Promise<Probe> {
    return (await this.#call('probe', {}, options)) as Probe;
  }

  async mountVolume(wanted: MountVolume, options?: CallOptions): Promise<VolumeStatus> {
    const params = { ...wanted, meta: hexOf(wanted.meta), devices: wanted.devices.map(hexOf) };
    return (await this.#call('volume.mount', params, options)) as VolumeStatus;
  }

  async umountVolume(volume: string, options?: CallOptions): Promise<void> {
    await this.#call('volume.umount', { volume }, options);
  }

  async volumes(options?: CallOptions): Promise<VolumeStatus[]> {
    return (await this.#call('volume.status', {}, options)) as VolumeStatus[];
  }

  async prepareOverlay(wanted: PrepareOverlay, options?: CallOptions): Promise<OverlayStatus> {
    return (await this.#call('overlay.prepare', wanted, options)) as OverlayStatus;
  }

  async removeOverlay(overlay: string, options?: CallOptions): Promise<void> {
    await this.#call('overlay.remove', { overlay }, options);
  }

  async attachLoop(image: Digest, options?: CallOptions): Promise<string> {
    const { device } = (await this.#call('loop.attach', { image: hexOf(image) }, options)) as {
      device: string;
    };
    return device;
  }

  async detachLoop(image: Digest, options?: CallOptions): Promise<void> {
    await this.#call('loop.detach', { image: hexOf(image) }, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    connection?.end();
  }

  async #call(verb: string, params: object, options: CallOptions = {}): Promise<unknown> {
    options.signal?.throwIfAborted();
    const deadline = AbortSignal.timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
    const connection = await this.#connected();
    try {
      return await connection.call(verb, params, signal);
    } catch (error) {
      // The helper was restarted. Every verb is idempotent, so the call is made once more.
      if (!isDrakkarError(error, 'unavailable') || signal.aborted) throw error;
      return (await this.#connected()).call(verb, params, signal);
    }
  }

  /** All callers share one connection, so none of them ends it by leaving. */
  #connected(): Promise<Connection> {
    this.#connection ??= Connection.open(this.#socketPath, AbortSignal.timeout(CONNECT_TIMEOUT_MS)).then(
      (connection) => {
        this.#pid = connection.peerPid;
        connection.onEnd(() => {
          this.#connection = undefined;
        });
        return connection;
      },
      (cause: unknown) => {
        this.#connection = undefined;
        throw cause;
      },
    );
    return this.#connection;
  }
}

/** One connection: frames in, frames out, answers matched to calls by their number. */
class Connection {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #buffered = Buffer.alloc(0);
  #nextId = 1;
  #hello: Pending | undefined;
  #onEnd: () => void = () => {};
  #peerPid = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => this.#receive(bytes));
    socket.on('error', (cause) => this.#fail(lost(cause)));
    socket.on('close', () => this.#fail(lost()));
  }

  static open(socketPath: string, signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(socketPath);
      let greeted = false;
      const refuse = (cause: Error) => reject(unreachable(socketPath, cause));
      socket.once('error', refuse);
      socket.once('connect', () => {
        socket.off('error', refuse);
        const connection = new Connection(socket);
        const greet = () => {
          greeted = true;
          resolve(connection);
        };
        connection.#hello = { resolve: greet, reject };
        connection.#send({ version: PROTOCOL_VERSION, pid: process.pid } satisfies Hello);
      });
      signal.addEventListener('abort', () => {
        if (greeted) return;
        reject(timedOut('connecting to the native helper', signal));
        socket.destroy();
      });
    });
  }

  get peerPid(): number {
    return this.#peerPid;
  }

  onEnd(listener: () => void): void {
    this.#onEnd = listener;
  }

  call(verb: string, params: object, signal: AbortSignal): Promise<unknown> {
    if (signal.aborted) return Promise.reject(timedOut(verb, signal));
    const id = this.#nextId++;
    const answer = new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      signal.addEventListener('abort', () => reject(timedOut(verb, signal)), { once: true });
    });
    this.#send({ id, verb, params });
    return answer.finally(() => this.#pending.delete(id));
  }

  end(): void {
    this.#socket.destroy();
  }

  #send(message: object): void {
    const body = Buffer.from(JSON.stringify(message));
    const frame = Buffer.alloc(4 + body.length);
    frame.writeUInt32BE(body.length);
    body.copy(frame, 4);
    this.#socket.write(frame);
  }

  #receive(bytes: Buffer): void {
    this.#buffered = Buffer.concat([this.#buffered, bytes]);
    while (this.#buffered.length >= 4) {
      const length = this.#buffered.readUInt32BE();
      if (length > MAX_FRAME_BYTES) {
        this.#socket.destroy(new Error(`a frame of ${length} bytes`));
        return;
      }
      if (this.#buffered.length < 4 + length) return;
      const body = this.#buffered.subarray(4, 4 + length);
      this.#buffered = this.#buffered.subarray(4 + length);
      try {
        this.#answer(JSON.parse(body.toString('utf8')));
      } catch (cause) {
        this.#socket.destroy(new Error('an answer that is no JSON', { cause }));
        return;
      }
    }
  }

  #answer(message: { id?: number; result?: unknown; error?: ErrorDocument } & Partial<Hello>): void {
    const pending =
      message.id === undefined || message.id === 0 ? this.#hello : this.#pending.get(message.id);
    if (message.error) {
      const error = DrakkarError.fromJSON(message.error);
      if (pending) pending.reject(error);
      else this.#socket.destroy(error);
      return;
    }
    if (pending === this.#hello) this.#peerPid = message.pid ?? 0;
    pending?.resolve(message.result);
  }

  #fail(error: DrakkarError): void {
    this.#onEnd();
    for (const pending of [this.#hello, ...this.#pending.values()]) pending?.reject(error);
    this.#pending.clear();
  }
}

function unreachable(socketPath: string, cause: Error): DrakkarError {
  const denied = errnoOf(cause) === 'EACCES';
  return new DrakkarError(
    'unavailable',
    `the native helper can't be reached at ${socketPath}: ${cause.message}`,
    {
      hint: denied
        ? 'start the helper with --uid set to the user that runs the daemon'
        : 'start drakkar-native (as root), or use `drakkar up`, which does',
      cause,
    },
  );
}

function lost(cause?: Error): DrakkarError {
  const why = cause === undefined ? '' : `: ${cause.message}`;
  return new DrakkarError('unavailable', `the native helper ended the connection${why}`, {
    hint: 'look at the log of drakkar-native; the call may be made again',
    cause,
  });
}

function timedOut(doing: string, signal: AbortSignal): DrakkarError {
  const reason: unknown = signal.reason;
  const deadline = reason instanceof Error && reason.name === 'TimeoutError';
  return new DrakkarError(
    deadline ? 'timeout' : 'cancelled',
    `${doing}: the native helper did not answer in time`,
    {
      cause: reason,
    },
  );
}

/**
 * Asks a helper program what this kernel can do, without a running helper.
 *
 * @param directory where to try it: a directory on the disk that matters
 * @throws `unsupported` where the program can't be run
 */
export async function probeKernel(program: string, directory: string): Promise<Probe> {
  try {
    const { stdout } = await promisify(execFile)(program, ['--probe', directory], {
      timeout: DEFAULT_TIMEOUT_MS,
    });
    return JSON.parse(stdout) as Probe;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DrakkarError(
      'unsupported',
      `the native helper can't be asked what this kernel can do: ${message}`,
      {
        hint: 'build it with `npm run setup`, and run this as root',
        cause,
      },
    );
  }
}
