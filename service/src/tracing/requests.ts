import type { DrakkarError, ErrorDocument } from '@drakkar/protocol';
import type { FastifyInstance } from 'fastify';
import type { Span } from './span.ts';
import type { Tracing } from './tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What its trace calls it. */
    span: Span;
  }
}

/** Says in every answer which trace it belongs to: lines of logs have the same. */
export const TRACE_HEADER = 'x-request-id';

/** An error as whoever has asked gets it: with the trace in which it came about. */
export function tracedError(error: DrakkarError, { context: { traceId } }: Span): ErrorDocument {
  return { ...error.toJSON(), details: { ...error.details, traceId } };
}

/** Each request is done for the trace that its `traceparent` names, or for a new one. */
export function traceRequests(server: FastifyInstance, tracing: Tracing): void {
  server.decorateRequest('span', null as unknown as Span);
  server.addHook('onRequest', async (request, reply) => {
    const { method, routeOptions, headers } = request;
    const { url = 'none' } = routeOptions;
    const span = tracing.begin(`${method} ${url}`, {
      traceparent: headers.traceparent,
      attributes: { 'http.request.method': method, 'http.route': url },
    });
    request.span = span;
    reply.header(TRACE_HEADER, span.context.traceId);
    reply.raw.once('close', () => {
      span.set({ 'http.response.status_code': reply.raw.statusCode });
      span.end();
    });
  });
  // Only now: what reads the body belongs to the connection.
  server.addHook('preValidation', (request, _, done) => request.span.run(done));
}
