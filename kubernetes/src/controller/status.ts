import { isDeepStrictEqual } from 'node:util';
import { type ImageSnapshotStatus, imageSnapshotStatusSchema } from '../resources/index.ts';
import { ownConditions } from './conditions.ts';

const FIELDS = Object.keys(imageSnapshotStatusSchema.shape) as (keyof ImageSnapshotStatus)[];
/** How often is written how many bytes have moved, where nothing else has changed. */
const FIGURES_MS = 30_000;

/** What of a status is ours, as it would come back: others may say more there. */
export function ownStatus(status: ImageSnapshotStatus = {}): ImageSnapshotStatus {
  const fields = Object.fromEntries(FIELDS.map((field) => [field, status[field]]));
  const conditions = status.conditions && ownConditions(status.conditions);
  return JSON.parse(JSON.stringify({ ...fields, conditions })) as ImageSnapshotStatus;
}

/**
 * How long to wait before a status is written.
 *
 * @param written as it is there, since so long
 * @returns nothing where it is there already
 */
export function writeInMs(
  written: ImageSnapshotStatus | undefined,
  sinceMs: number,
  status: ImageSnapshotStatus,
): number | undefined {
  const [known, now] = [ownStatus(written), ownStatus(status)];
  if (isDeepStrictEqual(known, now)) return undefined;
  return isDeepStrictEqual(withoutBytes(known), withoutBytes(now)) ? Math.max(0, FIGURES_MS - sinceMs) : 0;
}

const withoutBytes = ({ images = [], ...rest }: ImageSnapshotStatus) => ({
  ...rest,
  images: images.map(({ upstreamBytes: _, peerBytes: __, ...image }) => image),
});
