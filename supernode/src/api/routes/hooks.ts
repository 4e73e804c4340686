import { z } from 'zod';
import { ID } from '../../ids.ts';
import { doneOnPush, nameOf, type Policies, type PushedImage } from '../../policies/index.ts';
import { type DeliveryListener, proofWords } from '../../webhooks/hooks.ts';
import {
  deliveryAnswer,
  deliveryRecordSchema,
  type Hook,
  hookDocument,
  hookRequest,
  newHookDocument,
  type TrialAnswer,
  trialAnswer,
  trialRequest,
} from '../../webhooks/schema.ts';
import { pageOf, pageQuery } from '../documents.ts';
import type { ApiModules } from '../modules.ts';
import { originOf } from '../origin.ts';
import type { ApiRoutes } from '../server.ts';
import { valuesOf } from './jobs.ts';

const byId = z.object({ id: z.string().regex(ID, 'is no id of a webhook') });
const DELIVERY_BYTES = 512 * 1024;
/** Of one hook, from one address: a registry says something of every push. */
const DELIVERIES_PER_MINUTE = 6_000;
const TOO_OFTEN = `more than ${DELIVERIES_PER_MINUTE} deliveries a minute from one address`;

/** Where registries say what they have now. */
export function hookRoutes(server: ApiRoutes, { hooks, policies, metrics }: ApiModules): void {
  const tags = ['webhooks'];
  const admin = { role: 'admin' } as const;
  const count: DeliveryListener = (kind, outcome) => metrics.deliveries.inc({ kind, outcome });
  const shown = ({ secret: _, ...hook }: Hook) => ({
    ...hook,
    path: `/api/v1/webhooks/${hook.id}/deliveries`,
    proof: proofWords(hook.kind),
    ...hooks.lastOf(hook.id),
  });
  server.get(
    '/webhooks',
    {
      schema: {
        tags,
        operationId: 'listWebhooks',
        summary: 'Webhooks, without their secrets, the oldest first',
        querystring: pageQuery,
        response: { 200: pageOf(hookDocument) },
      },
    },
    async ({ query }) => {
      const { items, next } = valuesOf(await hooks.page(query));
      return { items: items.map(shown), next };
    },
  );
  server.get(
    '/webhooks/:id/deliveries',
    {
      schema: {
        tags,
        operationId: 'listDeliveries',
        summary: 'The last deliveries that this supernode has had, the newest first',
        params: byId,
        querystring: pageQuery,
        response: { 200: pageOf(deliveryRecordSchema) },
      },
    },
    ({ params, query }) => hooks.deliveries(params.id, query),
  );
  server.post(
    '/webhooks',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'createWebhook',
        summary: 'Hear of a registry’s pushes',
        body: hookRequest,
        response: { 201: newHookDocument },
      },
    },
    async ({ body, caller }, reply) => {
      const hook = await hooks.create(body, caller.name);
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ ...shown(hook), secret: hook.secret });
    },
  );
  server.delete(
    '/webhooks/:id',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'removeWebhook',
        summary: 'Hear of it no longer',
        params: byId,
        response: { 204: z.undefined() },
      },
    },
    async ({ params }, reply) => {
      await hooks.remove(params.id);
      return reply.code(204).send();
    },
  );
  server.post(
    '/webhooks/:id/try',
    {
      config: { role: 'operator' },
      schema: {
        tags,
        operationId: 'tryWebhook',
        summary: 'What a delivery would have done; nothing of it is',
        params: byId,
        body: trialRequest,
        response: { 200: trialAnswer },
      },
    },
    async ({ params, body }) => {
      const { example, pushed } = await hooks.try(params.id, body.delivery);
      return { example, images: pushed.flatMap((image) => trialOf(image, policies)) };
    },
  );
  void server.register(async (scope: ApiRoutes) => {
    // The secret signs the bytes as they came.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: DELIVERY_BYTES }, (_, body, done) =>
      done(null, body),
    );
    // Senders of CloudEvents ask first whether they may. Source: CloudEvents, “HTTP 1.1 Web Hooks”, 4.
    scope.options(
      '/webhooks/:id/deliveries',
      { config: { public: true }, schema: { hide: true, params: byId } },
      async ({ headers }, reply) => {
        const origin = headers['webhook-request-origin'];
        if (typeof origin === 'string') reply.header('webhook-allowed-origin', origin.slice(0, 255));
        return reply.header('webhook-allowed-rate', '120').send();
      },
    );
    scope.post(
      '/webhooks/:id/deliveries',
      {
        config: {
          public: true,
          rateLimit: {
            max: DELIVERIES_PER_MINUTE,
            onExceeded: ({ params }) => hooks.postpone((params as { id: string }).id, TOO_OFTEN, count),
            // A flood from elsewhere does not lock out the registry.
            keyGenerator: ({ raw, params }) =>
              `webhook ${originOf(raw).address} ${(params as { id?: string }).id}`,
          },
        },
        bodyLimit: DELIVERY_BYTES,
        schema: {
          tags,
          operationId: 'deliver',
          summary: 'What a registry says; who sends it shows that it knows the webhook’s secret',
          params: byId,
          security: [],
          response: { 200: deliveryAnswer },
        },
      },
      async ({ params, body, headers }) => {
        const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
        const { answer, ...taken } = await hooks.take(params.id, bytes, headers, count);
        return { ...taken, ...answer };
      },
    );
  });
}

function trialOf(pushed: PushedImage, policies: Policies): TrialAnswer['images'] {
  const image = nameOf(pushed);
  if (image === undefined) return [];
  const matching = policies.of(pushed).map((policy) => {
    const { id, name } = policy;
    return { id, name, does: doneOnPush(policy) };
  });
  return [{ image, policies: matching }];
}
