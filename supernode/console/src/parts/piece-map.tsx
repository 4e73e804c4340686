import { CELLS, cellsOf, runsOf } from '../model/pieces.ts';

const CELL = 6;
const HEIGHT = 16;

/** Which 64ths of a blob a host has: what is there is filled. */
export function PieceMap({ map, label }: { readonly map: string | null; readonly label: string }) {
  const filled = runsOf(cellsOf(map))
    .map(({ from, length }) => `M${from * CELL} 0h${length * CELL}v${HEIGHT}h-${length * CELL}z`)
    .join('');
  return (
    <svg
      class="piece-map"
      viewBox={`0 0 ${CELLS * CELL} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <rect class="piece-ground" width={CELLS * CELL} height={HEIGHT} />
      <path class="piece-there" d={filled} />
      <path class="piece-edges" d={EDGES} />
    </svg>
  );
}

const EDGES = Array.from({ length: CELLS - 1 }, (_, index) => `M${(index + 1) * CELL} 0v${HEIGHT}`).join('');

/** On how many hosts each 64th is: the higher, the more. */
export function Coverage({ counts, hosts }: { readonly counts: readonly number[]; readonly hosts: number }) {
  const height = 48;
  const bars = counts
    .map((value, index) => {
      const high = hosts === 0 ? 0 : (value / hosts) * height;
      return high === 0 ? '' : `M${index * CELL} ${height}v-${high.toFixed(2)}h${CELL}V${height}z`;
    })
    .join('');
  const least = Math.min(...counts);
  return (
    <svg
      class="coverage"
      viewBox={`0 0 ${CELLS * CELL} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`Each part of the blob is on ${least} to ${Math.max(...counts)} of ${hosts} hosts.`}
    >
      <rect class="piece-ground" width={CELLS * CELL} height={height} />
      <path class="piece-there" d={bars} />
      <path class="piece-edges" d={EDGES.replaceAll(`v${HEIGHT}`, `v${height}`)} />
    </svg>
  );
}
