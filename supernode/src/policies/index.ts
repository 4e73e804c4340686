/**
 * What is done for which images: `Policies` keeps what people have asked for and what waits for its turn, and has jobs do it; a pattern of
 * images is a `Glob`.
 */
export { doneOnPush } from './plan.ts';
export {
  nameOf,
  Policies,
  type PoliciesModules,
  type PushedImage,
} from './policies.ts';
export { creatorOf } from './queue.ts';
export * from './schema.ts';
