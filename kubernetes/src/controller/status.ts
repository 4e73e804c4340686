import { type ImageSnapshotStatus, imageSnapshotStatusSchema } from '../resources/index.ts';
import { ownConditions } from './conditions.ts';

const FIELDS = Object.keys(imageSnapshotStatusSchema.shape) as (keyof ImageSnapshotStatus)[];

/** What of a status is ours, as it would come back: others may say more there. */
export function ownStatus(status: ImageSnapshotStatus = {}): ImageSnapshotStatus {
  const fields = Object.fromEntries(FIELDS.map((field) => [field, status[field]]));
  const conditions = status.conditions && ownConditions(status.conditions);
  return JSON.parse(JSON.stringify({ ...fields, conditions })) as ImageSnapshotStatus;
}
