const FIRST_MS = 100;
const LAST_MS = 60_000;

/**
 * How long to wait before something is tried again that has failed so often in a row: longer each time, and never as long as everybody else.
 * @param leastMs as whoever was asked wants it
 */
export function delayMs(failures: number, leastMs = 0, chance: () => number = Math.random): number {
  const mostMs = Math.min(LAST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
  return Math.max(leastMs, mostMs * (0.5 + chance() / 2));
}
