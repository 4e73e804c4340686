/**
 * What registries tell of pushes: `readDelivery` makes one list of what each kind of sender says in its own way, `verifySecret` says
 * whether it is who it should be, and `deliveryIdOf` whether it was heard before. No I/O.
 */
export { type Delivery, readDelivery } from './delivery.ts';
export { deliveryIdOf } from './delivery-id.ts';
export { HOOK_KINDS, type HookKind } from './kinds.ts';
export type { Pushed } from './notification.ts';
export { PROOFS, type Proof, verifySecret } from './secrets.ts';
export { type DeliveryContext, type DeliveryHeaders, MAX_EVENTS } from './shapes/shape.ts';
