/**
 * The supernode: who is a member of the cluster, who takes part in which blob, and who shall get it from whom.
 *
 * @example
 * ```ts
 * import { startSupernode, supernodeConfiguration } from '@drakkar/supernode';
 *
 * await using supernode = await startSupernode(await supernodeConfiguration.load());
 * console.log(supernode.status().address, supernode.joinToken);
 * ```
 *
 * @packageDocumentation
 */
export { openApi } from './api/index.ts';
export { type SupernodeConfig, supernodeConfiguration } from './config.ts';
export { createSupernodeMetrics } from './metrics.ts';
export { type Supernode, startSupernode } from './supernode.ts';
export { Choice, type Surroundings } from './swarm/choose.ts';
export { type NameAnswer, type NameMeaning, Names } from './swarm/names.ts';
export { SWARM_DEFAULTS, type SwarmOptions } from './swarm/options.ts';
export type { BlobSwarm, Host, Origin, Part } from './swarm/state.ts';
export { type Advice, type BlobSize, Swarm } from './swarm/swarm.ts';
