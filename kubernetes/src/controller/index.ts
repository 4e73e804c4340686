/** What is brought about because of our resources. */
export type {
  Fleet,
  HostPart,
  KeptPolicies,
  Order,
  OrderSpec,
  PolicyFigures,
  PolicyRules,
} from './contract.ts';
export { ImageSnapshots, type ImageSnapshotsModules } from './image-snapshots.ts';
export type { NodeLabels } from './items.ts';
export { followNodes } from './nodes.ts';
export { PullSecrets, Secrets } from './secrets.ts';
export { SnapshotPolicies, type SnapshotPoliciesModules } from './snapshot-policies.ts';
export { labelOf, ToldNodes } from './told-nodes.ts';
export { whyInvalid } from './why-invalid.ts';
