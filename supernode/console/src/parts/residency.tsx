import type { SnapshotPart } from '../documents.ts';
import { percentage } from '../format.ts';
import { partName, type ResidencyRow } from '../model/residency.ts';
import { useWidth } from './width.ts';

const ROW = 16;
const HEAD = 24;
const NAMES = 144;
const LEAST_CELL = 6;
const MOST_CELL = 72;

interface ResidencyProps {
  readonly parts: readonly SnapshotPart[];
  readonly rows: readonly ResidencyRow[];
}

/** Hosts by devices: each cell is filled from below as far as the host has the device. */
export function ResidencyMap({ parts, rows }: ResidencyProps) {
  const { ref, width } = useWidth<HTMLElement>(640);
  const names = width < 480 ? 112 : NAMES;
  const cell = Math.max(LEAST_CELL, Math.min(MOST_CELL, (width - names - 56) / Math.max(1, parts.length)));
  const every = Math.ceil(20 / cell);
  const drawnWidth = names + cell * parts.length + 56;
  const height = HEAD + rows.length * ROW;
  return (
    <figure class="chart scroll" ref={ref}>
      <svg
        width={Math.max(width, drawnWidth)}
        height={height}
        role="img"
        aria-label={`Residency of ${parts.length} parts on ${rows.length} hosts; the table has the same.`}
      >
        {parts.map(
          (part, index) =>
            index % every === 0 && (
              <text
                key={part.digest}
                class="tick"
                x={names + (index + 0.5) * cell}
                y={14}
                text-anchor="middle"
              >
                {part.kind === 'meta' ? 'm' : part.slot}
              </text>
            ),
        )}
        {rows.map((row, line) => (
          <g key={row.peer}>
            <text class="row-name" x={0} y={HEAD + line * ROW + 12}>
              {cut(row.name, names)}
            </text>
            <rect
              class="piece-ground"
              x={names}
              y={HEAD + line * ROW}
              width={cell * parts.length}
              height={ROW - 2}
            />
            <path class="piece-there" d={cellsPath(row, names, HEAD + line * ROW, cell)}>
              <title>{`${row.name}: ${percentage(row.total)}`}</title>
            </path>
            <text class="tick" x={names + cell * parts.length + 8} y={HEAD + line * ROW + 12}>
              {percentage(row.total)}
            </text>
          </g>
        ))}
        {parts.slice(1).map((part, index) => (
          <line
            key={part.digest}
            class="piece-edge"
            x1={names + (index + 1) * cell}
            x2={names + (index + 1) * cell}
            y1={HEAD}
            y2={height - 2}
          />
        ))}
      </svg>
    </figure>
  );
}

/** Names of hosts differ at their ends. */
const cut = (name: string, width: number): string => {
  const most = Math.floor(width / 7.5);
  return name.length > most ? `…${name.slice(1 - most)}` : name;
};

function cellsPath(row: ResidencyRow, left: number, top: number, cell: number): string {
  const full = ROW - 2;
  return row.parts
    .map((residency, index) => {
      if (residency <= 0) return '';
      const high = Math.max(1, residency * full);
      return `M${(left + index * cell).toFixed(1)} ${top + full}v-${high.toFixed(1)}h${cell.toFixed(1)}v${high.toFixed(1)}z`;
    })
    .join('');
}

/** The same in numbers. */
export const residencyColumns = (parts: readonly SnapshotPart[]) => [
  { title: 'Host', isHeader: true, cell: (row: ResidencyRow) => row.name },
  { title: 'All', isNumber: true, cell: (row: ResidencyRow) => percentage(row.total) },
  ...parts.map((part, index) => ({
    title: partName(part),
    isNumber: true,
    cell: (row: ResidencyRow) => percentage(row.parts[index] ?? 0),
  })),
];
