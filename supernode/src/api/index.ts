/**
 * The supernode over HTTP, for people and programs: `/api/v1` with its documentation at `/api/docs`, tokens with roles, events, and an audit log.
 */
export { Audit } from './audit.ts';
export type {
  BlobDetailDocument,
  BlobDocument,
  HostDocument,
  OverviewDocument,
  SnapshotDetailDocument,
  TopologyDocument,
} from './documents.ts';
export { Events } from './events.ts';
export { Forwarded, forward, refuse } from './forward.ts';
export type { ApiModules, HostEntry, MembersApi } from './modules.ts';
export type { ApiHandler, Origin } from './origin.ts';
export { setOrigin } from './origin.ts';
export { type ApiPlace, openApi, type ServeApiOptions, serveApi } from './serve.ts';
export { type ApiServer, createApi } from './server.ts';
export { writtenOnce } from './text.ts';
export { API_ROLES, type ApiRole, Tokens } from './tokens.ts';
