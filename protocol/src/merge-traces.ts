import { type DeviceRange, MAX_TRACE_RANGES, type Trace } from './trace.ts';

/** A part of a device that each trace has read as a whole or not at all. */
interface Segment {
  readonly device: number;
  readonly start: number;
  readonly end: number;
  /** Where it stands in the traces that have it. */
  readonly ranks: number[];
}

/**
 * What starts read, of the traces of some of them: what at least half of them have read, in the order in which they came to it (the
 * median of the places where it stands in them), neighbours together. Pure; one trace alone is its own list, and a list stays as it is.
 */
export function mergeTraces(traces: readonly Trace[]): DeviceRange[] {
  const merged: DeviceRange[] = [];
  const common = segmentsOf(traces).filter(({ ranks }) => ranks.length * 2 >= traces.length);
  for (const { device, start, end } of inOrder(common)) {
    const last = merged.at(-1);
    const isBehind = last?.device === device && last.offset + last.length === start;
    if (isBehind) merged[merged.length - 1] = { device, offset: last.offset, length: end - last.offset };
    else if (merged.length === MAX_TRACE_RANGES) break;
    else merged.push({ device, offset: start, length: end - start });
  }
  return merged;
}

function inOrder(segments: readonly Segment[]): Segment[] {
  return segments
    .map((segment) => ({ segment, rank: medianOf(segment.ranks) }))
    .sort(
      ({ segment: one, rank }, { segment: other, rank: otherRank }) =>
        rank - otherRank || one.device - other.device || one.start - other.start,
    )
    .map(({ segment }) => segment);
}

/** The lower one of two in the middle. */
function medianOf(ranks: readonly number[]): number {
  return [...ranks].sort((one, other) => one - other)[Math.floor((ranks.length - 1) / 2)] ?? 0;
}

/** Devices cut wherever a range of any trace begins or ends, with the places of each part in the traces that have it. */
function segmentsOf(traces: readonly Trace[]): Segment[] {
  const devices = new Set(traces.flat().map(({ device }) => device));
  return [...devices].flatMap((device) => {
    const own = traces.map((trace) =>
      trace.flatMap((range, rank) => (range.device === device ? [{ ...range, rank }] : [])),
    );
    const bounds = [...new Set(own.flat().flatMap(({ offset, length }) => [offset, offset + length]))].sort(
      (one, other) => one - other,
    );
    const segments = bounds.map((start, index) => ({
      device,
      start,
      end: bounds[index + 1] ?? start,
      ranks: [] as number[],
    }));
    const indexOf = new Map(bounds.map((bound, index) => [bound, index]));
    for (const ranges of own) {
      const untouched = new Untouched(bounds.length);
      for (const { offset, length, rank } of ranges) {
        const end = indexOf.get(offset + length) ?? 0;
        for (let at = untouched.from(indexOf.get(offset) ?? end); at < end; at = untouched.from(at)) {
          segments[at]?.ranks.push(rank);
          untouched.touch(at);
        }
      }
    }
    return segments.filter(({ ranks }) => ranks.length > 0);
  });
}

/** Finds the next number that was not touched yet: each is visited once, however much ranges overlap. */
class Untouched {
  readonly #next: Uint32Array;

  constructor(count: number) {
    this.#next = Uint32Array.from({ length: count + 1 }, (_, index) => index);
  }

  from(index: number): number {
    let found = index;
    while (this.#of(found) !== found) found = this.#of(found);
    for (let at = index; at !== found; ) {
      const next = this.#of(at);
      this.#next[at] = found;
      at = next;
    }
    return found;
  }

  touch(index: number): void {
    this.#next[index] = index + 1;
  }

  #of(index: number): number {
    return this.#next[index] ?? index;
  }
}
