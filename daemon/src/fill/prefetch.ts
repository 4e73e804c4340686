/** A part of a device, by its slot in the snapshot. */
export interface SlotRange {
  readonly device: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * The blocks of each device that a list of ranges touches, each once, in the order of the list. Ranges that are not on a device are left out: lists come
 * from other hosts.
 *
 * @param blockCounts of each device, by slot
 */
export function blocksToPrefetch(
  list: Iterable<SlotRange>,
  blockCounts: readonly number[],
  blockBytes: number,
): number[][] {
  const blocks = blockCounts.map(() => new Set<number>());
  for (const { device, offset, length } of list) {
    const count = blockCounts[device] ?? 0;
    const first = Math.floor(offset / blockBytes);
    const end = Math.min(count, Math.ceil((offset + length) / blockBytes));
    for (let block = Math.max(0, first); block < end; block += 1) blocks[device]?.add(block);
  }
  return blocks.map((set) => [...set]);
}
