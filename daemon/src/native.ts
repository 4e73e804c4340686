/**
 * The boundary to `drakkar-native`, whole: the same names in the same order as `native/src/wire.rs`.
 *
 * Frames of JSON over a unix socket, each with its length before it as a big-endian u32. The first frame of each side is
 * {@link Hello}.
 */
import { execFile } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Probe } from '@drakkar/client';
import {
  type Digest,
  DrakkarError,
  digestFromHex,
  type ErrorDocument,
  errnoOf,
  hexOf,
} from '@drakkar/protocol';

const PROTOCOL_VERSION = 2;
/** The status of a few thousand volumes. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
/** Mounting takes milliseconds; a disk that hangs must not hang the daemon. */
const DEFAULT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** A helper that was killed is back in a moment. */
const RESTART_PATIENCE_MS = 10_000;
const RETRY_MS = 20;
/** All of a volume is synced and hashed. */
const RETIRE_TIMEOUT_MS = 600_000;

/** Of a directory with millions of files. */
const LAYER_TIMEOUT_MS = 600_000;

interface Hello {
  readonly version: number;
  /** Of the sender: of a helper, its launcher. */
  readonly pid: number;
  /** Of a helper: the process that answers. */
  readonly worker?: number;
}

/** What the kernel reads a volume from; `auto` is files where the kernel can (≥ 6.12), else loop devices. */
export type Backing = 'auto' | 'file' | 'loop';

export interface MountVolume {
  readonly volume: string;
  readonly meta: Digest;
  /** In the order of the image's device slots. */
  readonly devices: readonly VolumeDevice[];
  /** Raw bytes of a block, of all devices. */
  readonly blockBytes: number;
  readonly backend: Backend;
  readonly backing: Backing;
}

export interface VolumeDevice {
  /** Of the raw file. */
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** The whole raw file is there; else it is a sparse file that is to be filled on demand. */
  readonly complete: boolean;
}

/**
 * How a volume of which something is missing is filled while it is mounted: `local` not at all, `fanotify` when the kernel asks before a
 * file is read (≥ 6.14), `fuse` by serving the files; `auto` is the best that works here.
 */
export type Backend = 'auto' | 'local' | 'fanotify' | 'fuse';

/** Where the zstd frame of a block lies in its blob. */
export interface BlockSource {
  readonly block: number;
  readonly offset: number;
  readonly length: number;
}

export interface FillDevice {
  readonly device: Digest;
  /** In the store, whole or in part. */
  readonly blob: Digest;
  readonly blocks: readonly BlockSource[];
}

/** A block that could not be filled; whoever waited for it has been given an error. */
export interface FailedBlock {
  readonly block: number;
  readonly error: DrakkarError;
}

/** Blocks that readers wait for. */
export interface Wish {
  readonly device: Digest;
  readonly blocks: readonly number[];
}

/** A part of a device that somebody has come to read for the first time. */
export interface Touch {
  /** Of the device in its volume, from 0. */
  readonly slot: number;
  readonly offset: number;
  readonly length: number;
  /** Whether all of it was here already. */
  readonly wasPresent: boolean;
  readonly agoMs: number;
}

/** How much of a device that is being filled is here. */
export interface Residency {
  /** Hex digits of the raw digest. */
  readonly device: string;
  readonly blocks: number;
  readonly presentBlocks: number;
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
  /**
   * What fills it, or, with `fuse` on files, what its readers go through even though everything is here; `null` when the kernel reads it
   * alone.
   */
  readonly backend: Exclude<Backend, 'auto' | 'local'> | null;
  /** Devices that are read with the helper's part; none when the kernel reads the volume alone. */
  readonly filling: readonly Residency[];
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

/** What is written upon others. */
export interface PrepareLayer {
  readonly layer: string;
  /** The nearest first. */
  readonly parents: readonly string[];
  /** Below all of them, mounted. */
  readonly volume: string | null;
  /** Of its root, by the host's ids; `null` for that of the nearest parent's root. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
}

export interface LayerStatus {
  readonly layer: string;
  readonly upperdir: string;
  readonly workdir: string;
  /** The nearest first; a volume last. */
  readonly lowerdirs: readonly string[];
}

export interface LayerUsage {
  readonly bytes: number;
  readonly inodes: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

/** The verbs of the helper. All are idempotent; a call that was cut off may be made again. */
export interface NativeHelper extends AsyncDisposable {
  /** The process that was started as the helper that answered last; `null` before any has. */
  readonly pid: number | null;
  /** The process of it that answered. */
  readonly workerPid: number | null;
  /** How often a connection was made or lost: the same as before means the same process all the time. */
  readonly connections: number;
  probe(options?: CallOptions): Promise<Probe>;
  mountVolume(wanted: MountVolume, options?: CallOptions): Promise<VolumeStatus>;
  /** @throws `busy` while an overlay or a process uses it */
  umountVolume(volume: string, options?: CallOptions): Promise<void>;
  volumes(options?: CallOptions): Promise<VolumeStatus[]>;
  /** Lets the kernel read alone what is complete. @throws `invalid_content` where that is wrong: it is filled anew */
  retireVolume(volume: string, options?: CallOptions): Promise<VolumeStatus>;
  /** What readers have touched of the devices that are being filled, in order; the last some ten thousand of all volumes are known. */
  touches(volume: string, options?: CallOptions): Promise<Touch[]>;
  /**
   * Hears what readers wait for: everything that they wait for already, then what comes. One listens at a time, the last that came.
   * Ends when the helper ends, with `unavailable`, or when the signal does.
   */
  listen(hear: (wish: Wish) => void, signal: AbortSignal): Promise<void>;
  /** The blocks of a device that are here. @throws `not_found` unless it is being filled */
  presentBlocks(device: Digest, options?: CallOptions): Promise<number[]>;
  /** Fills blocks from a blob, and answers whoever waits for them. */
  fillDevice(wanted: FillDevice, options?: CallOptions): Promise<FailedBlock[]>;
  /** Blocks cannot be had: whoever waits for them gets an error, and the next read asks again. */
  refuseBlocks(
    device: Digest,
    blocks: readonly number[],
    reason: string,
    options?: CallOptions,
  ): Promise<void>;
  prepareOverlay(wanted: PrepareOverlay, options?: CallOptions): Promise<OverlayStatus>;
  /** @throws `busy` while a process uses it */
  removeOverlay(overlay: string, options?: CallOptions): Promise<void>;
  /** Makes what is missing of a layer's directories. @throws `not_found` for parents or a volume that are not there */
  prepareLayer(wanted: PrepareLayer, options?: CallOptions): Promise<LayerStatus>;
  removeLayer(layer: string, options?: CallOptions): Promise<void>;
  layerUsage(layer: string, options?: CallOptions): Promise<LayerUsage>;
  layers(options?: CallOptions): Promise<string[]>;
  /** Attaches a flat image that is in the store; gives the device's path. */
  attachLoop(image: Digest, options?: CallOptions): Promise<string>;
  detachLoop(image: Digest, options?: CallOptions): Promise<void>;
}

export interface NativeHelperOptions {
  /** There is one, though this has not spoken to it yet: one that is not there is waited for from the first call on. */
  readonly expected?: boolean;
}

/**
 * A helper at a socket. It connects when it is first needed, and again after the helper has been restarted: calls wait for that, ten seconds from
 * when it was gone. A helper that was never there is not waited for.
 */
export function nativeHelper(
  socketPath: string,
  { expected = false }: NativeHelperOptions = {},
): NativeHelper {
  return new SocketHelper(socketPath, expected);
}

/** A {@link Wish} as it comes. */
interface WishDocument {
  readonly device: string;
  readonly blocks: readonly number[];
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

class SocketHelper implements NativeHelper {
  readonly #socketPath: string;
  /** Whether it has been there, or is known to be. */
  #isExpected: boolean;
  /** Since when it has been away; nothing while it is not. */
  #awaySinceMs: number | undefined;
  #connection: Promise<Connection> | undefined;
  #pid: number | null = null;
  #workerPid: number | null = null;
  #connections = 0;

  constructor(socketPath: string, expected: boolean) {
    this.#socketPath = socketPath;
    this.#isExpected = expected;
  }

  get pid(): number | null {
    return this.#pid;
  }

  get workerPid(): number | null {
    return this.#workerPid;
  }

  get connections(): number {
    return this.#connections;
  }

  async probe(options?: CallOptions): Promise<Probe> {
    return (await this.#call('probe', {}, options)) as Probe;
  }

  async mountVolume(wanted: MountVolume, options?: CallOptions): Promise<VolumeStatus> {
    const devices = wanted.devices.map(({ digest, ...device }) => ({ id: hexOf(digest), ...device }));
    const params = { ...wanted, meta: hexOf(wanted.meta), devices };
    return (await this.#call('volume.mount', params, options)) as VolumeStatus;
  }

  async umountVolume(volume: string, options?: CallOptions): Promise<void> {
    await this.#call('volume.umount', { volume }, options);
  }

  async volumes(options?: CallOptions): Promise<VolumeStatus[]> {
    return (await this.#call('volume.status', {}, options)) as VolumeStatus[];
  }

  async retireVolume(volume: string, options?: CallOptions): Promise<VolumeStatus> {
    return (await this.#call(
      'volume.retire',
      { volume },
      { timeoutMs: RETIRE_TIMEOUT_MS, ...options },
    )) as VolumeStatus;
  }

  async touches(volume: string, options?: CallOptions): Promise<Touch[]> {
    const { touches } = (await this.#call('volume.touches', { volume }, options)) as { touches: Touch[] };
    return touches;
  }

  async listen(hear: (wish: Wish) => void, signal: AbortSignal): Promise<void> {
    const connection = await Connection.open(this.#socketPath, AbortSignal.timeout(CONNECT_TIMEOUT_MS));
    connection.onWish(({ device, blocks }) => hear({ device: digestFromHex(device), blocks }));
    const ended = connection.ended;
    signal.addEventListener('abort', () => connection.end(), { once: true });
    await connection.call('device.listen', {}, signal);
    await ended;
    if (!signal.aborted) throw lost();
  }

  async presentBlocks(device: Digest, options?: CallOptions): Promise<number[]> {
    const { blocks } = (await this.#call('device.present', { device: hexOf(device) }, options)) as {
      blocks: number[];
    };
    return blocks;
  }

  async fillDevice({ device, blob, blocks }: FillDevice, options?: CallOptions): Promise<FailedBlock[]> {
    const params = { device: hexOf(device), blob: hexOf(blob), blocks };
    const { failed } = (await this.#call('device.fill', params, options)) as {
      failed: { block: number; error: ErrorDocument }[];
    };
    return failed.map(({ block, error }) => ({ block, error: DrakkarError.fromJSON(error) }));
  }

  async refuseBlocks(
    device: Digest,
    blocks: readonly number[],
    reason: string,
    options?: CallOptions,
  ): Promise<void> {
    await this.#call('device.refuse', { device: hexOf(device), blocks, reason }, options);
  }

  async prepareOverlay(wanted: PrepareOverlay, options?: CallOptions): Promise<OverlayStatus> {
    return (await this.#call('overlay.prepare', wanted, options)) as OverlayStatus;
  }

  async removeOverlay(overlay: string, options?: CallOptions): Promise<void> {
    await this.#call('overlay.remove', { overlay }, options);
  }

  async prepareLayer(wanted: PrepareLayer, options?: CallOptions): Promise<LayerStatus> {
    return (await this.#call('layer.prepare', wanted, options)) as LayerStatus;
  }

  async removeLayer(layer: string, options?: CallOptions): Promise<void> {
    await this.#call('layer.remove', { layer }, { timeoutMs: LAYER_TIMEOUT_MS, ...options });
  }

  async layerUsage(layer: string, options?: CallOptions): Promise<LayerUsage> {
    const timeoutMs = LAYER_TIMEOUT_MS;
    return (await this.#call('layer.usage', { layer }, { timeoutMs, ...options })) as LayerUsage;
  }

  async layers(options?: CallOptions): Promise<string[]> {
    const { layers } = (await this.#call('layer.list', {}, options)) as { layers: string[] };
    return layers;
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
    for (;;) {
      try {
        return await (await this.#connected()).call(verb, params, signal);
      } catch (error) {
        if (!(error instanceof HelperAway) || signal.aborted || !this.#isComingBack()) throw error;
        // Every verb is idempotent, so the call is made once more.
        await sleep(RETRY_MS);
      }
    }
  }

  #isComingBack(): boolean {
    this.#awaySinceMs ??= performance.now();
    return this.#isExpected && performance.now() - this.#awaySinceMs < RESTART_PATIENCE_MS;
  }

  /** All callers share one connection, so none of them ends it by leaving. */
  #connected(): Promise<Connection> {
    this.#connection ??= Connection.open(this.#socketPath, AbortSignal.timeout(CONNECT_TIMEOUT_MS)).then(
      (connection) => {
        this.#pid = connection.peerPid;
        this.#workerPid = connection.workerPid;
        this.#isExpected = true;
        this.#awaySinceMs = undefined;
        this.#connections += 1;
        void connection.ended.then(() => {
          this.#connection = undefined;
          this.#connections += 1;
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
  readonly #ended = Promise.withResolvers<void>();
  #onWish: (wish: WishDocument) => void = () => {};
  #peerPid = 0;
  #workerPid = 0;

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

  get workerPid(): number {
    return this.#workerPid;
  }

  /** When the connection has ended, for whatever reason. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  onWish(listener: (wish: WishDocument) => void): void {
    this.#onWish = listener;
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

  #answer(
    message: { id?: number; result?: unknown; error?: ErrorDocument } & Partial<Hello & WishDocument>,
  ): void {
    if (message.device !== undefined) {
      this.#onWish({ device: message.device, blocks: message.blocks ?? [] });
      return;
    }
    const pending =
      message.id === undefined || message.id === 0 ? this.#hello : this.#pending.get(message.id);
    if (message.error) {
      const error = DrakkarError.fromJSON(message.error);
      if (pending) pending.reject(error);
      else this.#socket.destroy(error);
      return;
    }
    if (pending === this.#hello) {
      this.#peerPid = message.pid ?? 0;
      this.#workerPid = message.worker ?? 0;
    }
    pending?.resolve(message.result);
  }

  #fail(error: DrakkarError): void {
    this.#ended.resolve();
    for (const pending of [this.#hello, ...this.#pending.values()]) pending?.reject(error);
    this.#pending.clear();
  }
}

/** Nobody has answered, so the call may be made again. */
class HelperAway extends DrakkarError {}

function unreachable(socketPath: string, cause: Error): DrakkarError {
  const denied = errnoOf(cause) === 'EACCES';
  return new HelperAway(
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
  return new HelperAway('unavailable', `the native helper ended the connection${why}`, {
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
