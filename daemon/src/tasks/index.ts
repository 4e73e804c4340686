/** What the supernode has this host do for the cluster. */
export { evict, evictImage } from './evict.ts';
export { HostTasks } from './tasks.ts';
export { doTask } from './work.ts';
