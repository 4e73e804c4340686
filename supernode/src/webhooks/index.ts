/**
 * What registries tell of pushes. `Hooks` keeps who may tell, and takes what they say; the rest does no I/O: `readDelivery` makes one list of
 * what each kind of sender says in its own way, `verifySecret` says whether it is who it should be, and `deliveryIdOf` what tells a delivery
 * from others.
 */
export { type Delivery, readDelivery } from './delivery.ts';
export { deliveryIdOf } from './delivery-id.ts';
export { Hooks, type HooksModules, proofWords, type Taken } from './hooks.ts';
export { HOOK_KINDS, type HookKind } from './kinds.ts';
export type { Pushed } from './notification.ts';
export * from './schema.ts';
export { PROOFS, type Proof, verifySecret } from './secrets.ts';
export { type DeliveryContext, type DeliveryHeaders, MAX_EVENTS } from './shapes/shape.ts';
