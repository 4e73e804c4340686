/** The admin API: its documents, its server in the daemon, and its client for everybody else. */
export * from './api.ts';
export { type AdminCall, AdminClient } from './client.ts';
export { type AdminModules, type AdminServer, serveAdmin } from './server.ts';
