import type { StartBucket } from '../documents.ts';
import { duration } from '../format.ts';

export interface Bar {
  readonly from: string;
  readonly to: string;
  readonly count: number;
  /** Of all: 0 to 1. */
  readonly share: number;
}

/** Buckets of a distribution as bars with words for their ends. */
export function barsOf(buckets: readonly StartBucket[]): Bar[] {
  const total = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  return buckets.map(({ toMs, count }, index) => ({
    from: index === 0 ? '0' : edge(buckets[index - 1]?.toMs ?? null),
    to: edge(toMs),
    count,
    share: total === 0 ? 0 : count / total,
  }));
}

/** Few digits: it stands below an axis. */
const edge = (ms: number | null): string => {
  if (ms === null) return '∞';
  return ms < 1000 ? `${ms} ms` : duration(ms).replace(/\.?0+ s$/, ' s');
};

/** Where a time stands among bars of the same width, in bars from the left; within a bar as if all were spread evenly. */
export function placeOf(ms: number, buckets: readonly StartBucket[]): number {
  let fromMs = 0;
  for (const [index, { toMs }] of buckets.entries()) {
    if (toMs === null) return index + 0.5;
    if (ms <= toMs) return index + (toMs === fromMs ? 0 : (ms - fromMs) / (toMs - fromMs));
    fromMs = toMs;
  }
  return buckets.length;
}
