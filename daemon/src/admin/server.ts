import { chmod, rm } from 'node:fs/promises';
import type { BlobSummary, DaemonStatus, ProgressEvent, PullRequest, PullResult } from '@drakkar/client';
import { DrakkarError, type ErrorCode, toDrakkarError } from '@drakkar/protocol';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Log } from '../snapshots/modules.ts';
import type { SnapshotService } from '../snapshots/service.ts';
import { Work } from '../snapshots/work.ts';
import { isAnswered } from '../sockets.ts';
import { buildRequestSchema, pullRequestSchema, startRequestSchema } from './requests.ts';

export interface AdminModules {
  readonly snapshots: SnapshotService;
  readonly log: Log;
  status(): Promise<DaemonStatus>;
  blobs(): BlobSummary[];
  pull(request: PullRequest, work: Work): Promise<PullResult>;
}

/** A running admin API; disposing it ends its connections. */
export type AdminServer = AsyncDisposable;

const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  invalid_content: 502,
  limit_exceeded: 422,
  not_found: 404,
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

/** Progress comes from every few hundred KiB; people and terminals want it ten times a second. */
const PROGRESS_INTERVAL_MS = 100;

/** An image reference with all its parts. */
const MAX_NAME_CHARACTERS = 1024;
const byName = z.object({ name: z.string().min(1).max(MAX_NAME_CHARACTERS) });
const byId = z.object({ id: z.string().min(1).max(128) });

/**
 * Serves the admin API on a unix socket that only the daemon's own user (and root) may open.
 *
 * @throws `busy` where another daemon answers there
 */
export async function serveAdmin(socketPath: string, modules: AdminModules): Promise<AdminServer> {
  if (await isAnswered(socketPath)) {
    throw new DrakkarError('busy', `another daemon already answers at ${socketPath}`, {
      hint: 'stop it first, or give this one a state directory of its own',
    });
  }
  await rm(socketPath, { force: true });
  const server = Fastify({
    bodyLimit: 64 * 1024,
    forceCloseConnections: true,
    // References are longer than the router expects names to be.
    routerOptions: { maxParamLength: MAX_NAME_CHARACTERS },
  });
  server.setErrorHandler((error, _, reply) => fail(reply, error));
  server.setNotFoundHandler((request, reply) =>
    fail(reply, new DrakkarError('not_found', `the admin API has no ${request.method} ${request.url}`)),
  );
  routes(server, modules);
  await server.listen({ path: socketPath });
  await chmod(socketPath, 0o600);
  return { [Symbol.asyncDispose]: () => server.close() };
}

function routes(server: FastifyInstance, { snapshots, log, ...modules }: AdminModules): void {
  server.get('/v1/status', () => modules.status());
  server.get('/v1/blobs', () => modules.blobs());
  server.post('/v1/pulls', (request, reply) => {
    const body = pullRequestSchema.parse(request.body);
    return stream(request, reply, log, (work) => modules.pull(body, work));
  });
  server.get('/v1/snapshots', (_, reply) => snapshots.list({ signal: leaves(reply) }));
  server.post('/v1/snapshots', (request, reply) => {
    const body = buildRequestSchema.parse(request.body);
    return stream(request, reply, log, (work) => snapshots.build(body, work));
  });
  server.get('/v1/snapshots/:name', (request, reply) =>
    snapshots.inspect(byName.parse(request.params).name, { signal: leaves(reply) }),
  );
  server.delete('/v1/snapshots/:name', async (request, reply) => {
    await snapshots.remove(byName.parse(request.params).name, { signal: leaves(reply) });
    return reply.code(204).send();
  });
  server.post('/v1/snapshots/:name/verify', (request, reply) => {
    const { name } = byName.parse(request.params);
    return stream(request, reply, log, (work) => snapshots.verify(name, work));
  });
  server.post('/v1/snapshots/:name/mount', (request, reply) =>
    snapshots.mount(byName.parse(request.params).name, { signal: leaves(reply) }),
  );
  server.post('/v1/snapshots/:name/umount', async (request, reply) => {
    await snapshots.umount(byName.parse(request.params).name, { signal: leaves(reply) });
    return reply.code(204).send();
  });
  server.get('/v1/snapshots/:name/flat', async (request, reply) => {
    const { name } = byName.parse(request.params);
    const { sizeBytes, bytes } = await snapshots.flatImage(name, { signal: leaves(reply) });
    return reply.type('application/octet-stream').header('content-length', sizeBytes).send(bytes);
  });
  server.post('/v1/starts', (request, reply) => {
    const body = startRequestSchema.parse(request.body);
    return stream(request, reply, log, (work) => snapshots.start(body, work));
  });
  server.delete('/v1/starts/:id', async (request, reply) => {
    await snapshots.endStart(byId.parse(request.params).id, { signal: leaves(reply) });
    return reply.code(204).send();
  });
}

/** Answers in JSON lines, and gives up the work when the caller leaves. */
async function stream<Result>(
  request: FastifyRequest,
  reply: FastifyReply,
  log: Log,
  task: (work: Work) => Promise<Result>,
): Promise<void> {
  reply.hijack();
  const response = reply.raw;
  response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' });
  const send = (event: ProgressEvent<Result>) => {
    if (!response.destroyed) response.write(`${JSON.stringify(event)}\n`);
  };
  let lastProgressMs = 0;
  let lastPhase = '';
  const work = new Work({
    signal: leaves(reply),
    onMark: (mark) => send({ type: 'mark', mark }),
    onProgress: (progress) => {
      const nowMs = performance.now();
      if (progress.phase === lastPhase && nowMs - lastProgressMs < PROGRESS_INTERVAL_MS) return;
      [lastProgressMs, lastPhase] = [nowMs, progress.phase];
      send({ type: 'progress', ...progress });
    },
  });
  try {
    send({ type: 'result', result: await task(work) });
  } catch (cause) {
    const error = toDrakkarError(cause);
    if (error.code === 'internal') log.error({ error: cause, url: request.url }, 'a request failed');
    send({ type: 'error', error: error.toJSON() });
  }
  response.end();
}

/** Aborts when the caller ends the connection before it has its answer. */
function leaves(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => controller.abort(new DrakkarError('cancelled', 'the caller has left')));
  return controller.signal;
}

function fail(reply: FastifyReply, cause: unknown): FastifyReply {
  const isBadRequest =
    cause instanceof z.ZodError ||
    (cause instanceof Error &&
      'statusCode' in cause &&
      cause.statusCode !== undefined &&
      Number(cause.statusCode) < 500);
  const error = isBadRequest
    ? new DrakkarError('invalid_argument', `the request is not valid: ${inOneLine(cause as Error)}`)
    : toDrakkarError(cause);
  return reply.code(HTTP_STATUS[error.code]).send(error.toJSON());
}

function inOneLine(cause: Error): string {
  const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
  return issue === undefined ? cause.message : `${issue.path.join('.')}: ${issue.message}`;
}
