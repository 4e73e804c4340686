/** Several supernodes over one state: who is there, who leads, and the keys that they share. */
export { joinOthers, streamToLeader } from './join.ts';
export { SharedKeys } from './keys.ts';
export { Replicas, type ReplicasEvents } from './replicas.ts';
export type { Replica } from './roster.ts';
