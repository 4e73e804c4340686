import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrakkarError } from '@drakkar/protocol';
import { traceRequests } from '@drakkar/service';
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import fastifyStatic from '@fastify/static';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  jsonSchemaTransform,
  jsonSchemaTransformObject,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import packageDocument from '../../package.json' with { type: 'json' };
import type { ApiModules } from './modules.ts';
import { originOf } from './origin.ts';
import { PROBLEM_TYPE, type Problem, problemOf, problemSchema } from './problem.ts';
import { routes } from './routes/index.ts';
import { textOf } from './text.ts';
import { type ApiRole, type Caller, mayDo } from './tokens.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call this; viewers where nothing is said. */
    role?: ApiRole;
    /** Nobody has to say who they are. */
    public?: boolean;
  }
  interface FastifyRequest {
    caller: Caller;
    /** The id of what was made because of it. */
    made: string | null;
  }
}

export interface ApiServerOptions {
  /** Whether it is asked over TLS. */
  readonly isSecure: boolean;
  /** Who has no token may look. */
  readonly anonymousViewers: boolean;
  /** What one caller may ask in a minute. */
  readonly requestsPerMinute: number;
  /** A defect that a caller was told nothing of. */
  onDefect(error: unknown, request: FastifyRequest): void;
}

export type ApiServer = FastifyInstance;

/** Who comes over the unix socket. */
const LOCAL: Caller = { name: 'local', role: 'admin', token: null, expiresAtMs: null };
const ANYBODY: Caller = { name: 'anybody', role: 'viewer', token: null, expiresAtMs: null };
/** There nobody is slowed down. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;
/** Who shows nothing that is good. */
const NOBODY: Caller = { name: 'nobody', role: 'viewer', token: null, expiresAtMs: null };
const BODY_BYTES = 1024 * 1024;
const BASE = '/api/v1';
/** What the console's build has made. */
const CONSOLE = join(import.meta.dirname, '../../console/dist');

/** The API, ready to be asked by its `routing`: every route has its schemas, who may call it, and what it may answer. */
export async function createApi(modules: ApiModules, options: ApiServerOptions): Promise<ApiServer> {
  const server = Fastify({
    bodyLimit: BODY_BYTES,
    routerOptions: { maxParamLength: 300 },
    // No route has the request yet, and what the framework says would repeat all of its path.
    frameworkErrors: (cause, _, reply) => {
      const isTooLong = cause.statusCode === 414;
      const what = isTooLong ? 'a part of the path is too long' : 'the path is not percent-encoded UTF-8';
      void sendProblem(
        reply,
        problemOf(Object.assign(new Error(what), { statusCode: isTooLong ? 414 : 400 })),
      );
    },
  });
  server.removeContentTypeParser('text/plain');
  server.setValidatorCompiler(validatorCompiler);
  // What is said is typed; to check it once more takes longer than to make it.
  server.setSerializerCompiler(() => textOf);
  server.decorateRequest('caller', null as unknown as Caller);
  server.decorateRequest('made', null);
  server.setErrorHandler((cause, request, reply) => {
    const problem = problemOf(cause);
    if (problem.code === 'internal') request.span.run(() => options.onDefect(cause, request));
    const { retryAfterSeconds } = cause as { retryAfterSeconds?: number };
    if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
    return answer(request, reply, problem);
  });
  server.setNotFoundHandler((request, reply) =>
    answer(
      request,
      reply,
      problemOf(new DrakkarError('not_found', `there is no ${request.method} ${pathOf(request)}`)),
    ),
  );
  traceRequests(server, modules.tracing);
  await server.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        ...{ scriptSrc: ["'self'"], styleSrc: ["'self'"], imgSrc: ["'self'", 'data:'] },
        ...{ connectSrc: ["'self'"], fontSrc: ["'self'"], manifestSrc: ["'self'"] },
        ...{ baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] },
      },
    },
    // Whether there is TLS at all is for the configuration to say.
    strictTransportSecurity: options.isSecure,
  });
  server.addHook('onRequest', async (request) => {
    request.caller = callerOf(request, modules, options) ?? NOBODY;
  });
  // Before it is said who may what: whoever tries tokens is one that asks too much, too.
  await server.register(rateLimit, {
    max: ({ raw }) => (originOf(raw).isLocal ? UNLIMITED : options.requestsPerMinute),
    timeWindow: 60_000,
    hook: 'onRequest',
    keyGenerator: ({ caller, raw }) => caller.token ?? originOf(raw).address,
    errorResponseBuilder: (_, { after }) =>
      Object.assign(new Error(`too many requests: try again in ${after}`), { statusCode: 429 }),
  });
  server.addHook('preParsing', async (request) => requireAllowed(request));
  server.addHook('preSerialization', async (request, reply, document) => {
    if (reply.statusCode === 201) request.made = (document as { id?: string } | null)?.id ?? null;
    return document;
  });
  server.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions, caller, params, made } = request;
    const route = routeOptions.url ?? 'none';
    const status = `${Math.floor(reply.statusCode / 100)}xx`;
    modules.metrics.requestSeconds.observe({ method, route, status }, reply.elapsedTime / 1000);
    const isChange = method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';
    // Who is not known has changed nothing; a registry's deliveries are what its webhook says of them.
    if (!isChange || caller === NOBODY || routeOptions.config.public === true) return;
    modules.audit.add({
      atMs: Date.now(),
      by: caller.name,
      token: caller.token,
      action: `${method} ${routeOptions.url}`,
      target: [
        ...Object.values((params as Record<string, string> | null) ?? {}),
        ...(made === null ? [] : [made]),
      ]
        .join(' ')
        .slice(0, 200),
      status: reply.statusCode,
    });
  });
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Drakkar',
        version: packageDocument.version,
        description:
          'The supernode: what the cluster has, and what it is to do. Every list comes in pages; errors are RFC 9457 problems.',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  if (existsSync(join(CONSOLE, 'index.html'))) {
    await server.register(fastifyStatic, {
      root: CONSOLE,
      prefix: '/',
      wildcard: false,
      cacheControl: false,
    });
  }
  await server.register(swaggerUi, { routePrefix: '/api/docs', staticCSP: false });
  await server.register(
    async (scope) => {
      const typed = scope.withTypeProvider<ZodTypeProvider>();
      typed.addHook('onRoute', (route) => {
        // Every route may answer with a problem.
        const schema = (route.schema ?? {}) as { response?: object };
        const problem = {
          description: 'What went wrong',
          content: { [PROBLEM_TYPE]: { schema: problemSchema } },
        };
        route.schema = { ...schema, response: { ...schema.response, default: problem } };
      });
      routes(typed, modules);
    },
    { prefix: BASE },
  );
  await server.ready();
  return server;
}

export type ApiRoutes = FastifyInstance<
  import('node:http').Server,
  import('node:http').IncomingMessage,
  import('node:http').ServerResponse,
  import('fastify').FastifyBaseLogger,
  ZodTypeProvider
>;

/**
 * Who calls, as far as that is known. What a route is called decides, and never the request's own line: that may spell the same path in other ways.
 *
 * @returns nothing for who shows a token that is not good, or none where one is needed
 */
function callerOf(
  request: FastifyRequest,
  { tokens }: ApiModules,
  { anonymousViewers }: ApiServerOptions,
): Caller | undefined {
  const header = request.headers.authorization;
  if (header === undefined && originOf(request.raw).isLocal) return LOCAL;
  if (header === undefined) return anonymousViewers ? ANYBODY : undefined;
  const [, text] = /^Bearer ([^ ]+)$/i.exec(header) ?? [];
  return text === undefined ? undefined : tokens.find(text, Date.now());
}

/** @throws `unauthorized` | `forbidden` */
function requireAllowed({ caller, headers, routeOptions }: FastifyRequest): void {
  const { config, url = '' } = routeOptions;
  const isPublic = config.public ?? !url.startsWith(BASE);
  if (caller === NOBODY && !isPublic) {
    const what =
      headers.authorization === undefined ? 'a token is needed' : 'the token is not good, or no longer';
    throw new DrakkarError('unauthorized', what, {
      hint: 'send `Authorization: Bearer TOKEN`; `drakkar token create` on the supernode’s host makes one',
    });
  }
  const { role = 'viewer' } = config;
  if (mayDo(caller.role, role)) return;
  throw new DrakkarError(
    'forbidden',
    `this is for ${role}s; ${caller.name} may do what a ${caller.role} may`,
  );
}

/** What stands behind a question mark may be a secret. */
const pathOf = ({ url }: FastifyRequest): string => (url.split('?')[0] ?? '').slice(0, 200);

function answer({ span }: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
  return sendProblem(reply, { ...problem, traceId: span.context.traceId });
}

const sendProblem = (reply: FastifyReply, problem: Problem): FastifyReply =>
  reply
    .code(problem.status)
    .type(PROBLEM_TYPE)
    .serializer((document: unknown) => JSON.stringify(document))
    .send(problem);
