/**
 * This host as a member of the swarm: it gets pieces from other hosts, and gives them.
 *
 * `SwarmPeer` is the whole: links to the {@link Supernodes}, a server and a client of pieces, and an {@link Exchange} for each blob about
 * which hosts speak at the moment. What decides is pure: `PiecePicker` which piece to ask whom for, `SuperSeed` what to show to whom.
 */

export { certificateFor } from './certificate.ts';
export {
  type ClusterQuestion,
  type ClusterSnapshot,
  ClusterSnapshots,
  type FoundSnapshot,
} from './cluster-snapshots.ts';
export { ClusterTasks } from './cluster-tasks.ts';
export type { LocalPieces, PieceSink } from './exchange.ts';
export type { SwarmDownload, SwarmPieces } from './exchanges.ts';
export type { BlobShape } from './fetcher.ts';
export type { AskedName, Names } from './names.ts';
export { SWARM_PEER_DEFAULTS, type SwarmLimits } from './options.ts';
export { PiecePicker } from './picker.ts';
export { Standing } from './standing.ts';
export { SuperSeed } from './super-seed.ts';
export type { TaskReportInit } from './supernode-messages.ts';
export { Supernodes } from './supernodes.ts';
export {
  type SwarmPeer,
  type SwarmPeerModules,
  type SwarmPeerOptions,
  startSwarmPeer,
} from './swarm-peer.ts';
