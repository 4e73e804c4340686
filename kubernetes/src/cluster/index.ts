/** The API server of a Kubernetes cluster, and what controllers need of it. */
export { type ApiServerOptions, connectApiServer } from './api-server.ts';
export {
  type ApiServer,
  type ClusterObject,
  isConflict,
  isNotFound,
  isOlder,
  isSameWish,
  type ObjectMeta,
  type ResourcePath,
  StatusError,
  type WatchCall,
} from './contract.ts';
export { Events, type Happening } from './events.ts';
export { LeaderElection, type LeaseOptions } from './lease.ts';
export { isSubdomain, pathOf } from './path.ts';
export { keyOf, METADATA_ONLY, ofOne, Reflector, type ReflectorOptions } from './reflector.ts';
export { applyTo } from './server-side-apply.ts';
export { WorkQueue, type WorkQueueOptions } from './work-queue.ts';
