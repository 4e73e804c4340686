/**
 * What the cluster is asked to do: `Jobs` remembers it, a `JobRun` is one job on its way, `select` says which hosts it is for.
 */
export { type Around, clusterOf } from './cluster.ts';
export { type JobAction, Jobs, type JobsModules } from './jobs.ts';
export * from './schema.ts';
export type { JobHost } from './select.ts';
