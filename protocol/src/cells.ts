/** As many as a 64-bit number has bits. */
export const CELLS = 64;

/** Which 64ths of a blob are there, lowest bit first: a picture for people, of as many pieces as there may be. */
export function cellsOf(pieces: number, has: (piece: number) => boolean): bigint {
  let cells = 0n;
  for (let cell = 0; cell < CELLS; cell += 1) {
    const first = Math.floor((cell * pieces) / CELLS);
    const end = Math.max(first + 1, Math.floor(((cell + 1) * pieces) / CELLS));
    let isThere = true;
    for (let piece = first; piece < end && isThere; piece += 1) isThere = has(piece);
    if (isThere) cells |= 1n << BigInt(cell);
  }
  return cells;
}
