/** The admin API: `@drakkar/client` over HTTP on a unix socket. */
export { type AdminModules, serveAdmin } from './server.ts';
