import { chmod, rm } from 'node:fs/promises';
import { DrakkarError, type ErrorCode, toDrakkarError } from '@drakkar/protocol';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { isAnswered } from './sockets.ts';
import { tracedError, traceRequests } from './tracing/requests.ts';
import type { Tracing } from './tracing/tracing.ts';

/** A running admin API; disposing it ends its connections. */
export type AdminServer = AsyncDisposable;

/** What an error is in HTTP. */
export const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  invalid_content: 502,
  limit_exceeded: 422,
  not_found: 404,
  no_platform: 404,
  unauthorized: 401,
  forbidden: 403,
  unavailable: 503,
  timeout: 504,
  no_space: 507,
  busy: 409,
  already_exists: 409,
  unsupported: 501,
  cancelled: 499,
  internal: 500,
};

/** An image reference with all its parts. */
export const MAX_NAME_CHARACTERS = 1024;

/**
 * Serves an admin API on a unix socket that only the process's own user (and root) may open. Errors are answered as
 * {@link DrakkarError} documents.
 *
 * @param what serves there: `daemon`
 * @throws `busy` where another one answers there
 */
export async function serveAdminSocket(
  socketPath: string,
  what: string,
  tracing: Tracing,
  routes: (server: FastifyInstance) => void,
): Promise<AdminServer> {
  const server = Fastify({
    bodyLimit: 64 * 1024,
    forceCloseConnections: true,
    // References are longer than the router expects names to be.
    routerOptions: { maxParamLength: MAX_NAME_CHARACTERS },
  });
  server.setErrorHandler((error, request, reply) => fail(request, reply, error));
  server.setNotFoundHandler((request, reply) =>
    fail(
      request,
      reply,
      new DrakkarError('not_found', `the admin API has no ${request.method} ${request.url}`),
    ),
  );
  traceRequests(server, tracing);
  routes(server);
  return await listenOnSocket(server, socketPath, what);
}

/**
 * Listens on a unix socket that only the process's own user (and root) may open.
 *
 * @param what serves there: `daemon`
 * @throws `busy` where another one answers there
 */
export async function listenOnSocket(
  server: Pick<FastifyInstance, 'listen' | 'close'>,
  socketPath: string,
  what: string,
): Promise<AdminServer> {
  if (await isAnswered(socketPath)) {
    throw new DrakkarError('busy', `another ${what} already answers at ${socketPath}`, {
      hint: 'stop it first, or give this one a state directory of its own',
    });
  }
  await rm(socketPath, { force: true });
  await server.listen({ path: socketPath });
  await chmod(socketPath, 0o600);
  return { [Symbol.asyncDispose]: () => server.close() };
}

/** Aborts when the caller ends the connection before it has its answer. */
export function leaves(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => controller.abort(new DrakkarError('cancelled', 'the caller has left')));
  return controller.signal;
}

function fail({ span }: FastifyRequest, reply: FastifyReply, cause: unknown): FastifyReply {
  const isBadRequest =
    cause instanceof z.ZodError ||
    (cause instanceof Error &&
      'statusCode' in cause &&
      cause.statusCode !== undefined &&
      Number(cause.statusCode) < 500);
  const error = isBadRequest
    ? new DrakkarError('invalid_argument', `the request is not valid: ${inOneLine(cause as Error)}`)
    : toDrakkarError(cause);
  return reply.code(HTTP_STATUS[error.code]).send(tracedError(error, span));
}

function inOneLine(cause: Error): string {
  const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
  return issue === undefined ? cause.message : `${issue.path.join('.')}: ${issue.message}`;
}
