import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Digest,
  DrakkarError,
  isDrakkarError,
  type PieceTable,
  type SnapshotConfig,
  toDrakkarError,
  type VolumeFile,
} from '@drakkar/protocol';
import { type Content, newReceipt, type ReceiptCounter } from '../content/index.ts';
import type { NativeHelper, Wish } from '../native.ts';
import type { Log } from '../snapshots/index.ts';
import type { RepositoryName } from '../upstream/index.ts';
import { DeviceFill } from './device-fill.ts';
import { FillLanes } from './lanes.ts';
import { blocksToPrefetch, type SlotRange } from './prefetch.ts';

export interface FillerOptions {
  /** How long readers wait. What has not come by then is refused. */
  readonly readDeadlineMs: number;
}

export interface FillerModules {
  /** For listening. */
  readonly native: NativeHelper;
  /** Connections of their own, on each of which one block is filled at a time. */
  readonly lanes: readonly NativeHelper[];
  readonly content: Pick<Content, 'openPieces' | 'pieceTable'>;
  readonly log: Log;
  /** Whether all of a device is here, as it is mounted. */
  readonly isWhole: (device: Digest) => boolean;
  /** Which snapshot a device belongs to that nobody has spoken of since this daemon began. */
  readonly find: (device: Digest) => DeviceSource | undefined;
}

/** Where a device is from. */
export interface DeviceSource {
  readonly image: RepositoryName;
  readonly config: SnapshotConfig;
  readonly file: VolumeFile;
}

export interface FillCounts {
  readonly wishedBlocks: number;
  readonly filledBlocks: number;
  readonly refusedBlocks: number;
}

/** Before the helper is listened to again. */
const RETRY_MS = 20;

/** The daemon's part in lazy volumes: hears what readers wait for, has it fetched, and gives it to the helper. */
export class Filler implements AsyncDisposable {
  readonly #options: FillerOptions;
  readonly #modules: FillerModules;
  readonly #lanes: FillLanes;
  readonly #sources = new Map<Digest, DeviceSource>();
  readonly #tables = new Map<Digest, Promise<PieceTable>>();
  readonly #devices = new Map<Digest, Promise<DeviceFill>>();
  readonly #receipts = new Map<Digest, ReceiptCounter>();
  readonly #ending = new AbortController();
  #wishedBlocks = 0;
  #refusedBlocks = 0;
  #listening: Promise<void> | undefined;
  #wishedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: FillerOptions, modules: FillerModules) {
    this.#options = options;
    this.#modules = modules;
    this.#lanes = new FillLanes(modules.lanes);
  }

  /** Since the start: blocks that readers have waited for, all that were filled, and those that were refused. */
  get counts(): FillCounts {
    const { filledBlocks } = this.#lanes;
    return { wishedBlocks: this.#wishedBlocks, filledBlocks, refusedBlocks: this.#refusedBlocks };
  }

  /** Since a reader has last come to wait. */
  get idleMs(): number {
    return performance.now() - this.#wishedAtMs;
  }

  /** Listens until the end, to whatever helper there is. */
  start(): void {
    this.#listening ??= this.#listen();
  }

  /** The devices of a snapshot may be filled from its image's repository from now on. */
  know(image: RepositoryName, config: SnapshotConfig): void {
    for (const file of config.devices) this.#sources.set(file.rawDigest, { image, config, file });
  }

  /**
   * Brings what starts are known to read, before they ask. What can't be had now is left to readers, who are told.
   * @returns when everything is here or can't be had: whether it is here
   */
  async prefetch(config: SnapshotConfig, list: Iterable<SlotRange>, signal?: AbortSignal): Promise<boolean> {
    const ending = this.#ending.signal;
    const until = signal === undefined ? ending : AbortSignal.any([signal, ending]);
    return await this.#ofEachDevice(config, list, (device, blocks) => device.bring(blocks, 'soon', until));
  }

  /**
   * Brings to the store what a start will read of a snapshot that is not mounted yet, so that {@link prefetch} finds it there. What can't be had now is
   * wanted again then. Its devices may be filled from now on; they are to be forgotten where it is not mounted after all. Those that the list does not name
   * are opened when they are read.
   * @param list as of {@link prefetch}; where it is empty, any device may be read, and all that are not here are opened
   */
  async fetchAhead(
    { image, config }: Omit<DeviceSource, 'file'>,
    list: Iterable<SlotRange>,
    signal: AbortSignal,
  ): Promise<void> {
    const until = AbortSignal.any([signal, this.#ending.signal]);
    this.know(image, config);
    const ranges = [...list];
    if (ranges.length === 0) {
      const missing = config.devices.filter(({ rawDigest }) => !this.#modules.isWhole(rawDigest));
      await Promise.allSettled(missing.map(({ rawDigest }) => this.device(rawDigest)));
    }
    await this.#ofEachDevice(config, ranges, (device, blocks) => device.fetch(blocks, until));
  }

  /** What has come for the devices of a snapshot while they were filled. */
  received({ devices }: SnapshotConfig): ReceiptCounter {
    const total = newReceipt();
    for (const { rawDigest } of devices) {
      const receipt = this.#receipts.get(rawDigest);
      if (receipt !== undefined) total.add(receipt);
    }
    return total;
  }

  /** Nobody uses these devices any more. */
  async forget(devices: Iterable<Digest>): Promise<void> {
    for (const device of devices) {
      this.#sources.delete(device);
      this.#tables.delete(device);
      this.#receipts.delete(device);
      const opened = this.#devices.get(device);
      this.#devices.delete(device);
      await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]();
    }
  }

  /**
   * Before devices are mounted it is known how their blocks are had. Where that can't be said now, readers will be told; what is wrong is not mounted.
   * @throws `invalid_content` for a piece table that is none, or not of the device
   */
  async require(devices: readonly Digest[]): Promise<void> {
    const found = await Promise.allSettled(devices.map((device) => this.#table(device)));
    for (const [index, outcome] of found.entries()) {
      if (outcome.status === 'fulfilled') continue;
      if (isDrakkarError(outcome.reason, 'invalid_content')) throw outcome.reason;
      this.#modules.log.warn(
        { device: devices[index], error: outcome.reason },
        'a device has no source for now',
      );
    }
  }

  /** @throws `not_found` for a device of no snapshot that is known here; `invalid_content`; what its table can't be had for */
  device(device: Digest): Promise<DeviceFill> {
    return once(this.#devices, device, () => this.#open(device));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#listening;
    await this.forget([...this.#devices.keys()]);
  }

  async #listen(): Promise<void> {
    const { native, log } = this.#modules;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await native.listen((wish) => void this.#fulfil(wish), signal);
      } catch (error) {
        log.debug({ error }, 'the helper is not there to be listened to');
      }
      await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Never rejects: what can't be had the helper is told. */
  async #fulfil({ device, blocks }: Wish): Promise<void> {
    this.#wishedAtMs = performance.now();
    this.#wishedBlocks += blocks.length;
    const deadline = AbortSignal.timeout(this.#options.readDeadlineMs);
    const signal = AbortSignal.any([deadline, this.#ending.signal]);
    const refuse = (refused: readonly number[], cause: unknown) => this.#refuse(device, refused, cause);
    try {
      const filling = await this.device(device);
      await filling.wish(blocks, signal, (block, cause) => void refuse([block], cause));
    } catch (cause) {
      await refuse(blocks, cause);
    }
  }

  async #refuse(device: Digest, blocks: readonly number[], cause: unknown): Promise<void> {
    if (this.#ending.signal.aborted) return;
    const { native, log } = this.#modules;
    this.#refusedBlocks += blocks.length;
    const error = toDrakkarError(cause, 'unavailable');
    log.warn({ device, blocks, error }, 'blocks that readers wait for cannot be had');
    await native.refuseBlocks(device, blocks, error.message).catch(() => {});
  }

  async #open(device: Digest): Promise<DeviceFill> {
    const { image, file } = this.#source(device);
    const receipt = this.#receipt(device);
    const table = await this.#table(device);
    const request = { image, digest: file.blobDigest, sizeBytes: file.blobSizeBytes };
    const blob = await this.#modules.content.openPieces(
      request,
      { digest: file.piecesDigest, table },
      receipt,
    );
    return new DeviceFill(file, { blob, lanes: this.#lanes });
  }

  /** How a device is cut into blocks. @throws as {@link device} */
  #table(device: Digest): Promise<PieceTable> {
    return once(this.#tables, device, async () => {
      const { image, file, config } = this.#source(device);
      const request = { image, digest: file.piecesDigest, sizeBytes: file.piecesSizeBytes };
      const { signal } = this.#ending;
      const table = await this.#modules.content.pieceTable(request, this.#receipt(device), { signal });
      requireBlocks(table, file, config.blockBytes);
      return table;
    });
  }

  /** What comes for a device, until it is forgotten. */
  #receipt(device: Digest): ReceiptCounter {
    const receipt = this.#receipts.get(device) ?? newReceipt();
    this.#receipts.set(device, receipt);
    return receipt;
  }

  #source(device: Digest): DeviceSource {
    const source = this.#sources.get(device) ?? this.#modules.find(device);
    if (source === undefined)
      throw new DrakkarError('not_found', `no snapshot here has the device ${device}`);
    this.know(source.image, source.config);
    return source;
  }

  /** Does something with the blocks of each device that a list names. Never rejects. */
  async #ofEachDevice(
    { devices, blockBytes }: SnapshotConfig,
    list: Iterable<SlotRange>,
    bring: (device: DeviceFill, blocks: readonly number[]) => Promise<void>,
  ): Promise<boolean> {
    const counts = devices.map(({ rawSizeBytes }) => Math.ceil(rawSizeBytes / blockBytes));
    const isThere = await Promise.all(
      blocksToPrefetch(list, counts, blockBytes).map(async (blocks, slot) => {
        const file = devices[slot];
        if (file === undefined || blocks.length === 0) return true;
        try {
          await bring(await this.device(file.rawDigest), blocks);
          return true;
        } catch (error) {
          const { log } = this.#modules;
          log.debug({ device: file.rawDigest, error }, 'not all of the prefetch list can be had');
          return false;
        }
      }),
    );
    return isThere.every(Boolean);
  }
}

/** What is known of a key, or becomes so now, and is not tried again unless it fails. */
function once<Key, Value>(
  known: Map<Key, Promise<Value>>,
  key: Key,
  begin: () => Promise<Value>,
): Promise<Value> {
  const before = known.get(key);
  if (before !== undefined) return before;
  const begun = begin();
  known.set(key, begun);
  begun.catch(() => {
    if (known.get(key) === begun) known.delete(key);
  });
  return begun;
}

/**
 * The last piece of a snapshot's blob is its seek table, each other one a block.
 * @throws `invalid_content` where the table is that of another blob, or has another number of blocks than the device
 */
function requireBlocks(
  { digest, sizeBytes, pieces }: PieceTable,
  file: VolumeFile,
  blockBytes: number,
): void {
  if (digest !== file.blobDigest || sizeBytes !== file.blobSizeBytes) {
    throw new DrakkarError(
      'invalid_content',
      `the device ${file.rawDigest} has the piece table of another blob, ${digest}`,
    );
  }
  const blocks = pieces.length - 1;
  if (blocks === Math.ceil(file.rawSizeBytes / blockBytes)) return;
  throw new DrakkarError(
    'invalid_content',
    `the device ${file.rawDigest} of ${file.rawSizeBytes} bytes has a table of ${blocks} blocks of ${blockBytes}`,
  );
}
