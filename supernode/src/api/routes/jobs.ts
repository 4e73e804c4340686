import { DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { ID } from '../../ids.ts';
import { hostWorkSchema, jobSchema } from '../../jobs/index.ts';
import type { Page } from '../../state/index.ts';
import { jobActions, jobRequest, jobsQuery, pageOf, pageQuery } from '../documents.ts';
import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import { shownJob } from '../shown-job.ts';

const byId = z.object({ id: z.string().regex(ID, 'is no id of a job') });

export function jobRoutes(server: ApiRoutes, { jobs }: ApiModules): void {
  const tags = ['jobs'];
  server.get(
    '/jobs',
    {
      schema: {
        tags,
        operationId: 'listJobs',
        summary: 'Jobs, the newest first',
        querystring: jobsQuery,
        response: { 200: pageOf(jobSchema) },
      },
    },
    async ({ query: { active, ...page }, caller }) => {
      const { items, next } = valuesOf(active === undefined ? await jobs.page(page) : jobs.activePage(page));
      return { items: items.map((job) => shownJob(caller.role, job)), next };
    },
  );
  server.post(
    '/jobs',
    {
      config: { role: 'operator' },
      schema: {
        tags,
        operationId: 'createJob',
        summary: 'Have the cluster do something',
        body: jobRequest,
        response: { 201: jobSchema },
      },
    },
    async ({ body, caller }, reply) => {
      const request = body.requestId === undefined ? undefined : requestOf(caller.token, body.requestId);
      return reply.code(201).send(await jobs.create(body.spec, caller.name, request));
    },
  );
  server.get(
    '/jobs/:id',
    {
      schema: {
        tags,
        operationId: 'getJob',
        summary: 'One job',
        params: byId,
        response: { 200: jobSchema },
      },
    },
    async ({ params, caller }) => shownJob(caller.role, await jobs.get(params.id)),
  );
  server.get(
    '/jobs/:id/hosts',
    {
      schema: {
        tags,
        operationId: 'listJobHosts',
        summary: 'How far each host is with it',
        params: byId,
        querystring: pageQuery,
        response: { 200: pageOf(hostWorkSchema) },
      },
    },
    async ({ params, query }) => valuesOf(await jobs.hosts(params.id, query)),
  );
  for (const action of jobActions)
    server.post(
      `/jobs/:id/${action}`,
      {
        config: { role: 'operator' },
        schema: {
          tags,
          operationId: `${action}Job`,
          summary: SUMMARIES[action],
          params: byId,
          response: { 200: jobSchema },
        },
      },
      ({ params, caller }) => jobs.act(params.id, action, caller.name),
    );
  server.delete(
    '/jobs/:id',
    {
      config: { role: 'operator' },
      schema: {
        tags,
        operationId: 'removeJob',
        summary: 'Forget a job that has ended',
        params: byId,
        response: { 204: z.undefined() },
      },
    },
    async ({ params }, reply) => {
      await jobs.remove(params.id);
      return reply.code(204).send();
    },
  );
}

const SUMMARIES = {
  cancel: 'End a job; hosts give up what they are at',
  pause: 'Begin nothing new; hosts go on with what they are at',
  resume: 'Go on',
  retry: 'Begin again with what has not succeeded',
} as const;

/** Of one caller: nobody gets another one's job. */
const requestOf = (token: string | null, request: string): string => `${token ?? 'local'}/${request}`;

export function valuesOf<Value>({ items, next }: Page<Value>): { items: Value[]; next: string | null } {
  return { items: items.map(({ value }) => value), next };
}

/** @throws `not_found` */
export function notFound(what: string): never {
  throw new DrakkarError('not_found', `there is no ${what}`);
}
