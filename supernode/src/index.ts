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
import type { BackedUp } from './backup/index.ts';
import type { SupernodeConfig } from './config.ts';
import type { Supernode } from './supernode.ts';

export { type SupernodeConfig, supernodeConfiguration } from './config.ts';
export { createSupernodeMetrics } from './metrics.ts';
export type { Supernode } from './supernode.ts';
export { Choice, type Surroundings } from './swarm/choose.ts';
export { type NameAnswer, type NameMeaning, Names } from './swarm/names.ts';
export { SWARM_DEFAULTS, type SwarmOptions, TURNS } from './swarm/options.ts';
export type { BlobSwarm, Host, Origin, Part } from './swarm/state.ts';
export { type Advice, type BlobSize, Swarm } from './swarm/swarm.ts';

/** As `supernode.ts` has it; loaded when it is called, since commands that only read its configuration would wait for all of it. */
export async function startSupernode(config: SupernodeConfig): Promise<Supernode> {
  const supernode = await import('./supernode.ts');
  return await supernode.startSupernode(config);
}

/** What the API is, in OpenAPI 3.1. */
export async function openApi(): Promise<object> {
  const api = await import('./api/index.ts');
  return await api.openApi();
}

/** Where a supernode keeps what it must not forget. */
type Place = Pick<SupernodeConfig, 'stateDirectory' | 'state'>;

/** As `backup/` has it. */
export async function backUp(config: Place, output: string): Promise<BackedUp> {
  const backup = await import('./backup/index.ts');
  return await backup.backUp(config, output);
}

/** As `backup/` has it. */
export async function restore(
  input: string,
  config: Place,
  replace: boolean,
): Promise<BackedUp & { readonly aside: string | null }> {
  const backup = await import('./backup/index.ts');
  return await backup.restore(input, config, replace);
}
