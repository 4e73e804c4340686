/** Our kinds of resources. */
export {
  API_VERSION,
  definitionOf,
  GROUP,
  IMAGE_SNAPSHOT,
  KINDS,
  type Kind,
  SNAPSHOT_POLICY,
  VERSION,
} from './definitions.ts';
export { type Condition, conditionSchema, type Distribution, durationMs } from './fields.ts';
export { generated } from './generated.ts';
export {
  type ImageSnapshotSpec,
  type ImageSnapshotStatus,
  type ImageStatus,
  imageSnapshotSpecSchema,
  imageSnapshotStatusSchema,
  imageStatusSchema,
  type PreviousImage,
  previousSchema,
} from './image-snapshot.ts';
export {
  type SnapshotPolicySpec,
  type SnapshotPolicyStatus,
  snapshotPolicySpecSchema,
} from './snapshot-policy.ts';
