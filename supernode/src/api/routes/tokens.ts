import { z } from 'zod';
import { auditEntrySchema } from '../audit.ts';
import { newTokenSchema, pageOf, pageQuery, tokenRequest, tokenSchema, whoAmISchema } from '../documents.ts';
import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import type { ApiToken } from '../tokens.ts';
import { valuesOf } from './jobs.ts';

export function tokenRoutes(server: ApiRoutes, { tokens, audit }: ApiModules): void {
  const admin = { role: 'admin' } as const;
  server.get(
    '/whoami',
    {
      schema: {
        tags: ['access'],
        operationId: 'whoAmI',
        summary: 'Who asks, and what they may do',
        response: { 200: whoAmISchema },
      },
    },
    ({ caller: { name, role, token, expiresAtMs } }) => ({ name, role, token, expiresAtMs }),
  );
  server.get(
    '/tokens',
    {
      config: admin,
      schema: {
        tags: ['access'],
        operationId: 'listTokens',
        summary: 'Tokens of the API, without what is secret of them',
        querystring: pageQuery,
        response: { 200: pageOf(tokenSchema) },
      },
    },
    ({ query }) => {
      const { items, next } = tokens.page(query);
      return { items: items.map(shown), next };
    },
  );
  server.post(
    '/tokens',
    {
      config: admin,
      schema: {
        tags: ['access'],
        operationId: 'createToken',
        summary: 'Make a token',
        body: tokenRequest,
        response: { 201: newTokenSchema },
      },
    },
    async ({ body: { name, role, ttlMs }, caller }, reply) => {
      const nowMs = Date.now();
      const expiresAtMs = ttlMs === null ? null : nowMs + ttlMs;
      const { token, text } = await tokens.create({ name, role, expiresAtMs }, caller.name, nowMs);
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ ...shown(token), text });
    },
  );
  server.delete(
    '/tokens/:id',
    {
      config: admin,
      schema: {
        tags: ['access'],
        operationId: 'revokeToken',
        summary: 'End a token at once',
        params: z.object({ id: z.string().max(100) }),
        response: { 204: z.undefined() },
      },
    },
    async ({ params }, reply) => {
      await tokens.revoke(params.id);
      return reply.code(204).send();
    },
  );
  server.get(
    '/audit',
    {
      config: admin,
      schema: {
        tags: ['access'],
        operationId: 'listAudit',
        summary: 'Who has changed what, the newest first',
        querystring: pageQuery,
        response: { 200: pageOf(auditEntrySchema) },
      },
    },
    async ({ query }) => valuesOf(await audit.page(query)),
  );
}

const shown = ({ secretHash: _, ...token }: ApiToken) => token;
