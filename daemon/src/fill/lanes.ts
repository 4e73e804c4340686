import type { Digest, DrakkarError } from '@drakkar/protocol';
import type { BlockSource, NativeHelper } from '../native.ts';
import { byUrgency, URGENCIES, type Urgency } from '../urgency.ts';

/** Blocks of one call: enough that the call costs little, few enough that what is urgent has its turn soon. */
const BLOCKS_OF_CALL = 8;

/** A block whose piece is in the store, and that is to be put into its device. */
export interface BlockToFill {
  readonly device: Digest;
  readonly blob: Digest;
  readonly source: BlockSource;
}

interface Entry extends BlockToFill {
  readonly done: PromiseWithResolvers<void>;
}

/**
 * The way of blocks into devices: some connections to the helper, each with one call at a time, since the helper works on each in a thread of
 * its own. The most urgent blocks go first.
 */
export class FillLanes {
  readonly #idle: NativeHelper[];
  readonly #queues = byUrgency((): Entry[] => []);

  /** Since the start. */
  filledBlocks = 0;

  /** @param lanes connections that nobody else uses; they wait for a helper that is being restarted, as its readers do */
  constructor(lanes: readonly NativeHelper[]) {
    this.#idle = [...lanes];
  }

  /** Returns when the block is in its device. @throws why it is not: `no_space` | `invalid_content` | `unavailable` … */
  fill(block: BlockToFill, urgency: Urgency): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#queues[urgency].push({ ...block, done });
    this.#run();
    return done.promise;
  }

  #run(): void {
    for (;;) {
      const lane = this.#idle.at(-1);
      const entries = lane === undefined ? [] : this.#take();
      if (lane === undefined || entries.length === 0) return;
      this.#idle.pop();
      void this.#call(lane, entries).finally(() => {
        this.#idle.push(lane);
        this.#run();
      });
    }
  }

  /** Some blocks of one device and one urgency, shared with the lanes that are idle. */
  #take(): Entry[] {
    const queue = URGENCIES.map((urgency) => this.#queues[urgency]).find(({ length }) => length > 0);
    const first = queue?.[0];
    if (queue === undefined || first === undefined) return [];
    const most = Math.min(BLOCKS_OF_CALL, Math.ceil(queue.length / this.#idle.length));
    let count = 1;
    while (count < most && queue[count]?.device === first.device) count += 1;
    return queue.splice(0, count);
  }

  /** Never rejects: whoever waits for a block is told. */
  async #call(lane: NativeHelper, entries: readonly Entry[]): Promise<void> {
    const [first] = entries;
    if (first === undefined) return;
    const { device, blob } = first;
    const wanted = { device, blob, blocks: entries.map(({ source }) => source) };
    try {
      const failed = await lane.fillDevice(wanted);
      const errors = new Map<number, DrakkarError>(failed.map(({ block, error }) => [block, error]));
      for (const { source, done } of entries) {
        const error = errors.get(source.block);
        if (error === undefined) this.filledBlocks += 1;
        if (error === undefined) done.resolve();
        else done.reject(error);
      }
    } catch (error) {
      for (const { done } of entries) done.reject(error);
    }
  }
}
