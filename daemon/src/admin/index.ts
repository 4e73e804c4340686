/** The admin API: `@drakkar/client` over HTTP on a unix socket. */
export { type AdminModules, type AdminServer, serveAdmin } from './server.ts';
