import type { PrefetchRange, SnapshotPart } from '../documents.ts';
import { bytes, several } from '../format.ts';
import { useWidth } from './width.ts';

const HEIGHT = 12;

interface StripProps {
  readonly part: SnapshotPart;
  readonly ranges: readonly PrefetchRange[];
}

/** What starts are known to read of one device: where, and how much. */
export function PrefetchStrip({ part, ranges }: StripProps) {
  const { ref, width } = useWidth<HTMLDivElement>(480);
  const end = Math.max(part.sizeBytes, ...ranges.map(({ offset, length }) => offset + length), 1);
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  const path = ranges
    .map(({ offset, length }) => {
      const long = Math.max(1, (length / end) * width);
      return `M${((offset / end) * width).toFixed(1)} 0h${long.toFixed(1)}v${HEIGHT}h-${long.toFixed(1)}z`;
    })
    .join('');
  return (
    <div class="strip" ref={ref}>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        aria-label={`${several(ranges.length, 'range')}, ${bytes(total)} of ${bytes(end)}`}
      >
        <rect class="piece-ground" width={width} height={HEIGHT} />
        <path class="piece-there" d={path} />
      </svg>
    </div>
  );
}
