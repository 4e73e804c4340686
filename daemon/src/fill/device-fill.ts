import type { Digest, VolumeFile } from '@drakkar/protocol';
import type { PieceBlob } from '../content/index.ts';
import type { Urgency } from '../urgency.ts';
import type { FillLanes } from './lanes.ts';
import { ReadAhead } from './read-ahead.ts';

/** Blocks that are asked for at a time where nobody waits: so that what is wanted meanwhile is not behind all of them. */
const BLOCKS_AT_A_TIME = 32;

function* batchesOf(blocks: readonly number[]): Generator<number[], void, undefined> {
  for (let at = 0; at < blocks.length; at += BLOCKS_AT_A_TIME) yield blocks.slice(at, at + BLOCKS_AT_A_TIME);
}

interface Bringing {
  readonly done: Promise<void>;
  isUrgent: boolean;
}

/** Brings the blocks of one device: from whoever has their pieces, through the store, to the helper. Each is brought once, however many wait. */
export class DeviceFill implements AsyncDisposable {
  readonly file: VolumeFile;
  readonly blockCount: number;
  readonly #blob: PieceBlob;
  readonly #lanes: FillLanes;
  readonly #ahead: ReadAhead;
  readonly #bringing = new Map<number, Bringing>();

  constructor(file: VolumeFile, { blob, lanes }: { readonly blob: PieceBlob; readonly lanes: FillLanes }) {
    this.file = file;
    // The last piece of a snapshot's blob is its seek table.
    this.blockCount = blob.table.pieces.length - 1;
    this.#blob = blob;
    this.#lanes = lanes;
    this.#ahead = new ReadAhead(this.blockCount);
  }

  get device(): Digest {
    return this.file.rawDigest;
  }

  /**
   * Readers wait for these. What they will read next is brought behind.
   * @param failed told of each block that can't be had, and why
   */
  async wish(
    blocks: readonly number[],
    signal: AbortSignal,
    failed: (block: number, cause: unknown) => void,
  ): Promise<void> {
    const wanted = blocks.filter((block) => block < this.blockCount);
    const brought = this.#bringAll(wanted, 'urgent', signal).map((done, index) =>
      done.catch((cause) => failed(wanted[index] ?? 0, cause)),
    );
    for (const done of this.#bringAll(this.#ahead.behind(wanted), 'soon', signal)) done.catch(() => {});
    await Promise.all(brought);
  }

  /** Brings these in this order. @throws why the first one that fails can't be had */
  async bring(blocks: readonly number[], urgency: Urgency, signal: AbortSignal): Promise<void> {
    for (const some of batchesOf(blocks)) {
      signal.throwIfAborted();
      await Promise.all(this.#bringAll(some, urgency, signal));
    }
  }

  /** Brings their pieces to the store in this order, before they can be put into the device. @throws as {@link bring} */
  async fetch(blocks: readonly number[], signal: AbortSignal): Promise<void> {
    for (const some of batchesOf(blocks)) await this.#blob.want(some, { urgent: false, signal });
  }

  /** Has all pieces brought to the store. @param pass returns when so many bytes may be asked for */
  completeBlob(signal: AbortSignal, pass?: (bytes: number) => Promise<void>): Promise<void> {
    return this.#blob.complete(pass === undefined ? { signal } : { signal, pass });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#blob[Symbol.asyncDispose]() as Promise<void>;
  }

  /** Their pieces are wanted all together first, so that neighbours come in one request; each block then waits for its own alone. */
  #bringAll(blocks: readonly number[], urgency: Urgency, signal: AbortSignal): Promise<void>[] {
    if (blocks.length > 1) this.#blob.want(blocks, { urgent: urgency === 'urgent', signal }).catch(() => {});
    return blocks.map((block) => this.#bring(block, urgency, signal));
  }

  #bring(block: number, urgency: Urgency, signal: AbortSignal): Promise<void> {
    const known = this.#bringing.get(block);
    if (known !== undefined && (known.isUrgent || urgency !== 'urgent')) return known.done;
    const bringing = { done: this.#fetchAndFill(block, urgency, signal), isUrgent: urgency === 'urgent' };
    this.#bringing.set(block, bringing);
    const forget = () => {
      if (this.#bringing.get(block) === bringing) this.#bringing.delete(block);
    };
    bringing.done.then(forget, forget);
    return bringing.done;
  }

  async #fetchAndFill(block: number, urgency: Urgency, signal: AbortSignal): Promise<void> {
    await this.#blob.want([block], { urgent: urgency === 'urgent', signal });
    const { offset, length } = this.#blob.table.pieces[block] ?? { offset: 0, length: 0 };
    const { rawDigest: device, blobDigest: blob } = this.file;
    await this.#lanes.fill({ device, blob, source: { block, offset, length } }, urgency);
  }
}
