/** The word of a list that somebody may have meant, unless more than so many slips of the finger lie between. Pure. */
export function nearest(word: string, known: readonly string[], slips: number): string | undefined {
  const lower = word.toLowerCase();
  return known
    .map((each) => ({ each, distance: distance(lower, each.toLowerCase()) }))
    .filter((candidate) => candidate.distance <= slips)
    .sort((one, other) => one.distance - other.distance)[0]?.each;
}

/** Letters left out, put in, exchanged or swapped with the next. Optimal string alignment. */
function distance(from: string, to: string): number {
  let [before, row]: number[][] = [[], Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let line = 1; line <= from.length; line += 1) {
    const next = [line];
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[line - 1] === to[column - 1];
      const isSwapped = from[line - 1] === to[column - 2] && from[line - 2] === to[column - 1];
      next[column] = Math.min(
        at(row, column) + 1,
        at(next, column - 1) + 1,
        at(row, column - 1) + (isSame ? 0 : 1),
        isSwapped ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [before, row] = [row, next];
  }
  return at(row, to.length);
}

const at = (row: readonly number[] | undefined, column: number): number =>
  row?.[column] ?? Number.POSITIVE_INFINITY;
