/**
 * The supernode: who takes part in which blob, and who shall get it from whom. So far its pure core, which
 * bench/src/simulator runs against the daemon's.
 *
 * @example
 * ```ts
 * import { Swarm } from '@drakkar/supernode';
 *
 * const swarm = new Swarm({ candidates: 8 });
 * swarm.join(host, Date.now());
 * swarm.want(host.peer, { digest, sizeBytes, pieces }, 0, Date.now());
 * for (const advice of swarm.advise(Date.now())) tell(advice);
 * ```
 *
 * @packageDocumentation
 */
export { choose, nearness, type Surroundings } from './swarm/choose.ts';
export { SWARM_DEFAULTS, type SwarmOptions } from './swarm/options.ts';
export type { BlobSwarm, Host, Origin, Part } from './swarm/state.ts';
export { type Advice, type BlobSize, Swarm } from './swarm/swarm.ts';
