/** Streams of one device that are followed at the same time. */
const STREAMS = 8;
const FIRST_BLOCKS = 2;
const MOST_BLOCKS = 16;

interface Stream {
  /** The block after the last that was asked for, by the reader or ahead of it. */
  next: number;
  /** How many blocks are asked for ahead of it. */
  window: number;
}

/**
 * What to fetch ahead of readers who read one block after the other. Each time they reach what was fetched ahead the window grows; whoever
 * jumps about is given nothing ahead. Pure: no clock, no I/O.
 */
export class ReadAhead {
  readonly #blockCount: number;
  /** The least recently used first. */
  #streams: Stream[] = [];

  constructor(blockCount: number) {
    this.#blockCount = blockCount;
  }

  /** @returns the blocks to fetch behind those that readers have come to wait for, in order */
  behind(blocks: readonly number[]): number[] {
    return blocks.flatMap((block) => this.#behind(block));
  }

  #behind(block: number): number[] {
    const stream = this.#streams.find(({ next, window }) => block <= next && block > next - 2 - window);
    this.#streams = this.#streams.filter((other) => other !== stream).slice(1 - STREAMS);
    const next = Math.max(block + 1, stream?.next ?? 0);
    const window =
      stream === undefined ? 0 : Math.min(MOST_BLOCKS, Math.max(FIRST_BLOCKS, stream.window * 2));
    const end = Math.min(this.#blockCount, Math.max(next, block + 1 + window));
    this.#streams.push({ next: end, window });
    return Array.from({ length: end - next }, (_, index) => next + index);
  }
}
