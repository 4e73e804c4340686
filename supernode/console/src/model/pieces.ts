/** A piece map: 64 cells, each of them an equal part of a blob. */
export const CELLS = 64;

/** @param map 16 hex digits, the first cell in the lowest bit; what is none has no cells */
export function cellsOf(map: string | null): boolean[] {
  const digits = map !== null && /^[0-9a-f]{16}$/i.test(map) ? map : '0'.repeat(CELLS / 4);
  return [...digits].reverse().flatMap((digit) => {
    const value = Number.parseInt(digit, 16);
    return [1, 2, 4, 8].map((bit) => (value & bit) !== 0);
  });
}

export interface Run {
  readonly from: number;
  readonly length: number;
}

/** Neighbouring cells that are set, together. */
export function runsOf(cells: readonly boolean[]): Run[] {
  const runs: Run[] = [];
  for (let from = 0; from < cells.length; from += 1) {
    if (cells[from] !== true) continue;
    let to = from;
    while (cells[to] === true) to += 1;
    runs.push({ from, length: to - from });
    from = to;
  }
  return runs;
}

/** How many of the maps have each cell. */
export function coverage(maps: readonly (string | null)[]): number[] {
  const total = new Array<number>(CELLS).fill(0);
  for (const map of maps)
    for (const [index, isSet] of cellsOf(map).entries()) if (isSet) total[index] = (total[index] ?? 0) + 1;
  return total;
}
