import {
  type DeviceRange,
  EROFS_BLOCK_BYTES,
  MAX_TRACE_RANGES,
  mergeTraces,
  type Trace,
} from '@drakkar/protocol';
import type { TraceFigures } from '@drakkar/service';
import type { Touch } from '../native.ts';

/** What a start has read, of what the helper has seen touched since. Pure. */
export function traceOf(touches: readonly Touch[]): DeviceRange[] {
  const ranges = touches.slice(0, MAX_TRACE_RANGES).map(({ slot, offset, length }) => {
    const start = Math.floor(offset / EROFS_BLOCK_BYTES) * EROFS_BLOCK_BYTES;
    const end = Math.ceil((offset + length) / EROFS_BLOCK_BYTES) * EROFS_BLOCK_BYTES;
    return { device: slot, offset: start, length: end - start };
  });
  // Each part once, neighbours together.
  return mergeTraces([ranges.filter(({ length }) => length > 0)]);
}

/**
 * How well a start was foreseen: a block is a hit where it was all here when it was touched first. Pure.
 * @param prefetched what was brought before anybody asked
 */
export function figuresOf(touches: readonly Touch[], prefetched: Trace, blockBytes: number): TraceFigures {
  const touched = new Map<string, boolean>();
  for (const { slot, offset, length, wasPresent } of touches) {
    for (const block of blocksOf({ device: slot, offset, length }, blockBytes)) {
      if (!touched.has(block)) touched.set(block, wasPresent);
    }
  }
  return {
    touchedBlocks: touched.size,
    prefetchedBlocks: new Set(prefetched.flatMap((range) => [...blocksOf(range, blockBytes)])).size,
    hits: [...touched.values()].filter(Boolean).length,
  };
}

function* blocksOf({ device, offset, length }: DeviceRange, blockBytes: number): Generator<string> {
  const end = Math.ceil((offset + length) / blockBytes);
  for (let block = Math.floor(offset / blockBytes); block < end; block += 1) yield `${device} ${block}`;
}
