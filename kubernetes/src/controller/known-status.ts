import type { z } from 'zod';
import {
  conditionSchema,
  type ImageSnapshotStatus,
  imageStatusSchema,
  previousSchema,
} from '../resources/index.ts';

/** What a status tells that can be so: whatever else is written there is left out, and comes about anew. */
export function knownStatus(status: ImageSnapshotStatus = {}): ImageSnapshotStatus {
  return {
    ...status,
    conditions: those(conditionSchema, status.conditions),
    images: those(imageStatusSchema, status.images),
    previous: those(previousSchema, status.previous),
  };
}

const those = <T>(schema: z.ZodType<T>, all: readonly T[] = []): T[] =>
  all.filter((each) => schema.safeParse(each).success);
