import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import { clusterRoutes } from './cluster.ts';
import { eventRoutes } from './events.ts';
import { hookRoutes } from './hooks.ts';
import { jobRoutes } from './jobs.ts';
import { policyRoutes } from './policies.ts';
import { tokenRoutes } from './tokens.ts';

/** Everything below `/api/v1`. */
export function routes(server: ApiRoutes, modules: ApiModules): void {
  clusterRoutes(server, modules);
  jobRoutes(server, modules);
  policyRoutes(server, modules);
  hookRoutes(server, modules);
  tokenRoutes(server, modules);
  eventRoutes(server, modules);
}
