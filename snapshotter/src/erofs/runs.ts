import type { ChunkRun } from '../layers/tree.ts';

/** Collects chunks in ascending order, and joins those that follow each other on the device as well. */
export class RunList {
  readonly list: ChunkRun[] = [];
  readonly #blocksPerChunk: number;

  constructor(blocksPerChunk: number) {
    this.#blocksPerChunk = blocksPerChunk;
  }

  add(chunk: number, device: number, startBlock: number): void {
    const last = this.list.at(-1);
    if (
      last !== undefined &&
      last.device === device &&
      last.firstChunk + last.chunkCount === chunk &&
      last.startBlock + last.chunkCount * this.#blocksPerChunk === startBlock
    ) {
      this.list[this.list.length - 1] = { ...last, chunkCount: last.chunkCount + 1 };
    } else {
      this.list.push({ firstChunk: chunk, chunkCount: 1, device, startBlock });
    }
  }
}
