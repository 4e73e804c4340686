import { MAX_DEVICES } from '@drakkar/protocol';

/** Neighbouring layers whose data goes to one device: `[first, end)`. */
export interface LayerGroup {
  readonly first: number;
  readonly end: number;
}

/**
 * Which layers share a device: each has its own while there are not too many, since a device is then shared by every
 * image on the same layers. Beyond that the two neighbours that are smallest together are joined, again and again; of
 * equals the lowest.
 */
export function planDevices(layerSizes: readonly number[], maxDevices: number = MAX_DEVICES): LayerGroup[] {
  const groups = layerSizes.map((sizeBytes, index) => ({ first: index, end: index + 1, sizeBytes }));
  while (groups.length > maxDevices) {
    let best = 0;
    let bestBytes = Number.POSITIVE_INFINITY;
    for (let index = 0; index + 1 < groups.length; index++) {
      const bytes = (groups[index]?.sizeBytes ?? 0) + (groups[index + 1]?.sizeBytes ?? 0);
      if (bytes < bestBytes) {
        best = index;
        bestBytes = bytes;
      }
    }
    const first = groups[best]?.first ?? 0;
    const end = groups[best + 1]?.end ?? 0;
    groups.splice(best, 2, { first, end, sizeBytes: bestBytes });
  }
  return groups.map(({ first, end }) => ({ first, end }));
}
