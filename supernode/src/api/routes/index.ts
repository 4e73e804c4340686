import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import { clusterRoutes } from './cluster.ts';
import { eventRoutes } from './events.ts';
import { jobRoutes } from './jobs.ts';
import { tokenRoutes } from './tokens.ts';

/** Everything below `/api/v1`. */
export function routes(server: ApiRoutes, modules: ApiModules): void {
  clusterRoutes(server, modules);
  jobRoutes(server, modules);
  tokenRoutes(server, modules);
  eventRoutes(server, modules);
}
