import { Readable } from 'node:stream';
import type { BlobSummary, DaemonStatus, ProgressEvent, PullRequest, PullResult } from '@drakkar/client';
import { DrakkarError, parseDigest, toDrakkarError } from '@drakkar/protocol';
import {
  type AdminServer,
  leaves,
  MAX_NAME_CHARACTERS,
  serveAdminSocket,
  TRACE_HEADER,
  type Tracing,
  tracedError,
} from '@drakkar/service';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { readRange } from '../content/index.ts';
import type { Files } from '../files/index.ts';
import type { Log } from '../snapshots/modules.ts';
import type { SnapshotService } from '../snapshots/service.ts';
import { Work } from '../snapshots/work.ts';
import { withoutQuery } from '../upstream/index.ts';
import {
  buildRequestSchema,
  contentQuerySchema,
  getRequestSchema,
  pullRequestSchema,
  startRequestSchema,
} from './requests.ts';

export interface AdminModules {
  readonly snapshots: SnapshotService;
  readonly files: Files;
  readonly log: Log;
  readonly tracing: Tracing;
  status(): Promise<DaemonStatus>;
  blobs(): BlobSummary[];
  pull(request: PullRequest, work: Work): Promise<PullResult>;
}

/** Progress comes from every few hundred KiB; people and terminals want it ten times a second. */
const PROGRESS_INTERVAL_MS = 100;

const byName = z.object({ name: z.string().min(1).max(MAX_NAME_CHARACTERS) });
const byDigest = z.object({ digest: z.string() });
const byId = z.object({ id: z.string().min(1).max(128) });

/** Serves the admin API in the state directory. @throws `busy` where another daemon answers there */
export function serveAdmin(socketPath: string, modules: AdminModules): Promise<AdminServer> {
  return serveAdminSocket(socketPath, 'daemon', modules.tracing, (server) => routes(server, modules));
}

function routes(server: FastifyInstance, { snapshots, files, log, ...modules }: AdminModules): void {
  server.get('/v1/status', () => modules.status());
  server.get('/v1/blobs', () => modules.blobs());
  server.post('/v1/pulls', (request, reply) => {
    const body = pullRequestSchema.parse(request.body);
    return stream(request, reply, log, body.image, (work) => modules.pull(body, work));
  });
  server.post('/v1/files', (request, reply) => {
    const body = getRequestSchema.parse(request.body);
    return stream(request, reply, log, nameOfFile(body.url), (work) => files.get(body, work));
  });
  server.get('/v1/content/:digest', async (request, reply) => {
    const { start, end } = contentQuerySchema.parse(request.query);
    const digest = parseDigest(byDigest.parse(request.params).digest);
    const signal = leaves(reply);
    const blob = await files.open(digest, signal);
    if (signal.aborted || end > blob.sizeBytes) {
      await blob[Symbol.asyncDispose]();
      throw new DrakkarError('invalid_argument', `${digest} has ${blob.sizeBytes} bytes, not ${end}`);
    }
    const bytes = Readable.from(readRange(blob, start, end), { objectMode: false });
    // Whoever leaves before the first byte never starts the reading, which would let go of the blob.
    bytes.once('close', () => blob[Symbol.asyncDispose]());
    return reply
      .type('application/octet-stream')
      .header('content-length', end - start)
      .send(bytes);
  });
  server.get('/v1/snapshots', (_, reply) => snapshots.list({ signal: leaves(reply) }));
  server.post('/v1/snapshots', (request, reply) => {
    const body = buildRequestSchema.parse(request.body);
    return stream(request, reply, log, body.image, (work) => snapshots.build(body, work));
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
    return stream(request, reply, log, name, (work) => snapshots.verify(name, work));
  });
  server.post('/v1/snapshots/:name/mount', (request, reply) =>
    snapshots.mount(byName.parse(request.params).name, { signal: leaves(reply) }),
  );
  server.post('/v1/snapshots/:name/umount', async (request, reply) => {
    await snapshots.umount(byName.parse(request.params).name, { signal: leaves(reply) });
    return reply.code(204).send();
  });
  server.get('/v1/snapshots/:name/trace', (request, reply) =>
    snapshots.trace(byName.parse(request.params).name, { signal: leaves(reply) }),
  );
  server.get('/v1/snapshots/:name/flat', async (request, reply) => {
    const { name } = byName.parse(request.params);
    const { sizeBytes, bytes } = await snapshots.flatImage(name, { signal: leaves(reply) });
    return reply.type('application/octet-stream').header('content-length', sizeBytes).send(bytes);
  });
  server.post('/v1/starts', (request, reply) => {
    const body = startRequestSchema.parse(request.body);
    return stream(request, reply, log, body.image, (work) => snapshots.start(body, work));
  });
  server.get('/v1/starts/:id', (request, reply) =>
    snapshots.startStatus(byId.parse(request.params).id, { signal: leaves(reply) }),
  );
  server.delete('/v1/starts/:id', async (request, reply) => {
    await snapshots.endStart(byId.parse(request.params).id, { signal: leaves(reply) });
    return reply.code(204).send();
  });
}

/** What stands behind a question mark may be a secret. */
function nameOfFile(text: string): string {
  const url = URL.parse(text);
  return url === null ? 'what is no URL' : withoutQuery(url);
}

/** Answers in JSON lines, and gives up the work when the caller leaves. @param name of what is worked at */
async function stream<Result>(
  request: FastifyRequest,
  reply: FastifyReply,
  log: Log,
  name: string,
  task: (work: Work) => Promise<Result>,
): Promise<void> {
  reply.hijack();
  const response = reply.raw;
  const startedMs = performance.now();
  const asked = { request: `${request.method} ${request.url}`, name };
  request.span.set({ name });
  response.writeHead(200, {
    'content-type': 'application/x-ndjson',
    connection: 'close',
    [TRACE_HEADER]: request.span.context.traceId,
  });
  const send = (event: ProgressEvent<Result>) => {
    if (!response.destroyed) response.write(`${JSON.stringify(event)}\n`);
  };
  let lastProgressMs = 0;
  let lastPhase = '';
  const work = new Work({
    signal: leaves(reply),
    onMark: (mark) => send({ type: 'mark', mark }),
    onOpened: (readable) => send({ type: 'opened', ...readable }),
    onProgress: (progress) => {
      const nowMs = performance.now();
      if (progress.phase === lastPhase && nowMs - lastProgressMs < PROGRESS_INTERVAL_MS) return;
      [lastProgressMs, lastPhase] = [nowMs, progress.phase];
      send({ type: 'progress', ...progress });
    },
  });
  try {
    send({ type: 'result', result: await task(work) });
    const { upstreamBytes, peerBytes, storeBytes } = work.receipt;
    const elapsedMs = Math.round(performance.now() - startedMs);
    log.info({ ...asked, elapsedMs, upstreamBytes, peerBytes, storeBytes }, 'a request was answered');
  } catch (cause) {
    const error = toDrakkarError(cause);
    if (error.code === 'internal') log.error({ ...asked, error: cause }, 'a request failed');
    else log.info({ ...asked, error }, 'a request could not be answered');
    request.span.end(error);
    send({ type: 'error', error: tracedError(error, request.span) });
  }
  response.end();
}
