import { z } from 'zod';
import { ID } from '../../ids.ts';
import { dryRunRequest, policyRequest, policySchema, seenSchema } from '../../policies/schema.ts';
import { pageOf, pageQuery } from '../documents.ts';
import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';

const byId = z.object({ id: z.string().regex(ID, 'is no id of a policy') });
const seen = seenSchema.omit({ startsAtMs: true });
const matching = z.object({ images: z.array(seen) }).meta({ id: 'PolicyMatches' });

/** What is done for which images. */
export function policyRoutes(server: ApiRoutes, { policies }: ApiModules): void {
  const tags = ['policies'];
  const operator = { role: 'operator' } as const;
  server.get(
    '/policies',
    {
      schema: {
        tags,
        operationId: 'listPolicies',
        summary: 'Policies, by their names',
        querystring: pageQuery,
        response: { 200: pageOf(policySchema) },
      },
    },
    ({ query }) => policies.page(query),
  );
  server.post(
    '/policies',
    {
      config: operator,
      schema: {
        tags,
        operationId: 'createPolicy',
        summary: 'Have something done for images, from now on',
        body: policyRequest,
        response: { 201: policySchema },
      },
    },
    async ({ body, caller }, reply) => reply.code(201).send(await policies.create(body, caller.name)),
  );
  server.post(
    '/policies/dry-run',
    {
      // It costs more than a look at what is there.
      config: operator,
      schema: {
        tags,
        operationId: 'dryRunPolicy',
        summary: 'Which of the images that were seen a policy would be for',
        body: dryRunRequest,
        response: { 200: matching },
      },
    },
    async ({ body }) => ({ images: await policies.matching(body) }),
  );
  server.get(
    '/policies/:id',
    {
      schema: {
        tags,
        operationId: 'getPolicy',
        summary: 'One policy',
        params: byId,
        response: { 200: policySchema },
      },
    },
    ({ params }) => policies.get(params.id),
  );
  server.put(
    '/policies/:id',
    {
      config: operator,
      schema: {
        tags,
        operationId: 'changePolicy',
        summary: 'Put another policy in the place of one',
        params: byId,
        body: policyRequest,
        response: { 200: policySchema },
      },
    },
    ({ params, body }) => policies.change(params.id, body),
  );
  server.delete(
    '/policies/:id',
    {
      config: operator,
      schema: {
        tags,
        operationId: 'removePolicy',
        summary: 'Nothing more is done by it; what was begun goes on',
        params: byId,
        response: { 204: z.undefined() },
      },
    },
    async ({ params }, reply) => {
      await policies.remove(params.id);
      return reply.code(204).send();
    },
  );
}
