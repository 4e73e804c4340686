import { type Digest, DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { digestSchema } from '../../jobs/index.ts';
import {
  blobDetailSchema,
  blobSchema,
  forgetRequest,
  forgottenSchema,
  type HostDocument,
  hostSchema,
  hostsQuery,
  joinTokenSchema,
  overviewSchema,
  pageOf,
  pageQuery,
  peerSchema,
  snapshotDetailSchema,
  snapshotSchema,
  statusSchema,
  topologySchema,
} from '../documents.ts';
import type { ApiModules } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import { notFound } from './jobs.ts';

const byPeer = z.object({ peer: peerSchema });
const byDigest = z.object({ digest: digestSchema });

/** The supernode itself, its hosts, and what they have. */
export function clusterRoutes(server: ApiRoutes, modules: ApiModules): void {
  const { members } = modules;
  const admin = { role: 'admin' } as const;
  const tags = ['cluster'];
  server.get(
    '/status',
    { schema: { tags, operationId: 'getStatus', summary: 'The supernode', response: { 200: statusSchema } } },
    () => modules.status(),
  );
  server.get(
    '/overview',
    {
      schema: {
        tags,
        operationId: 'getOverview',
        summary: 'All of the cluster at a glance',
        response: { 200: overviewSchema },
      },
    },
    () => modules.overview(),
  );
  server.get(
    '/topology',
    {
      schema: {
        tags,
        operationId: 'getTopology',
        summary: 'Who is where, and who gives whom',
        response: { 200: topologySchema },
      },
    },
    () => modules.topology(),
  );
  server.get(
    '/hosts',
    {
      schema: {
        tags,
        operationId: 'listHosts',
        summary: 'Members of the cluster, by their names',
        querystring: hostsQuery,
        response: { 200: pageOf(hostSchema) },
      },
    },
    ({ query: { after, limit, state, role, q } }) => {
      const hosts = members
        .list()
        .filter(
          (host) =>
            (state === undefined || host.state === state) &&
            (role === undefined || host.roles.includes(role)) &&
            (q === undefined || isAbout(host, q.toLowerCase())),
        );
      return page(hosts, ({ peer }) => peer, after, limit);
    },
  );
  server.get(
    '/hosts/:peer',
    {
      schema: {
        tags,
        operationId: 'getHost',
        summary: 'One host',
        params: byPeer,
        response: { 200: hostSchema },
      },
    },
    ({ params }) => members.list().find(({ peer }) => peer === params.peer) ?? notFound('such host'),
  );
  server.post(
    '/hosts/:peer/revoke',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'revokeHost',
        summary: 'End a host’s membership',
        params: byPeer,
        response: { 204: z.undefined() },
      },
    },
    async ({ params: { peer } }, reply) => {
      if (!(await members.revoke(peer))) throw new DrakkarError('forbidden', `${peer} was revoked already`);
      return reply.code(204).send();
    },
  );
  server.post(
    '/hosts/:peer/forget',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'forgetHost',
        summary: 'Take a host that is gone for good off the list',
        params: byPeer,
        response: { 204: z.undefined() },
      },
    },
    async ({ params: { peer } }, reply) => {
      await members.forget(peer);
      return reply.code(204).send();
    },
  );
  server.post(
    '/hosts/forget',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'forgetAwayHosts',
        summary: 'Take all hosts off the list that are away for long',
        body: forgetRequest,
        response: { 200: z.array(forgottenSchema) },
      },
    },
    ({ body }) => members.forgetAway(body.awayMs),
  );
  server.get(
    '/join-token',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'getJoinToken',
        summary: 'What a daemon needs to join',
        response: { 200: joinTokenSchema },
      },
    },
    () => members.joinToken(),
  );
  server.post(
    '/join-token/rotate',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'rotateJoinToken',
        summary: 'Make a new join token; the old one lets nobody in any more',
        response: { 200: joinTokenSchema },
      },
    },
    async () => {
      await members.rotateJoinToken();
      return members.joinToken();
    },
  );
  server.post(
    '/cluster-key/rotate',
    {
      config: admin,
      schema: {
        tags,
        operationId: 'rotateClusterKey',
        summary: 'Sign with a new key; members are given new memberships, new hosts need a new token',
        response: { 200: statusSchema },
      },
    },
    async () => {
      await members.rotateClusterKey();
      return modules.status();
    },
  );
  server.get(
    '/blobs',
    {
      schema: {
        tags,
        operationId: 'listBlobs',
        summary: 'Blobs that somebody wants or has',
        querystring: pageQuery,
        response: { 200: pageOf(blobSchema) },
      },
    },
    ({ query: { after, limit } }) => {
      const key = ({ digest, origin, pieces }: z.output<typeof blobSchema>) =>
        `${digest}@${origin}@${pieces}`;
      const blobs = [...modules.blobs()].sort((one, other) => (key(one) < key(other) ? -1 : 1));
      return page(blobs, key, after, limit);
    },
  );
  server.get(
    '/blobs/:digest',
    {
      schema: {
        tags,
        operationId: 'getBlob',
        summary:
          'One blob, and what each host has of it; once for each way in which it is cut, and each place that it is from',
        params: byDigest,
        response: { 200: z.array(blobDetailSchema) },
      },
    },
    ({ params }) => modules.blob(params.digest as Digest),
  );
  server.get(
    '/snapshots/:digest',
    {
      schema: {
        tags,
        operationId: 'getSnapshot',
        summary: 'One snapshot, by the digest of its image’s manifest',
        params: byDigest,
        response: { 200: snapshotDetailSchema },
      },
    },
    ({ params }) => modules.snapshot(params.digest as Digest) ?? notFound('such snapshot'),
  );
  server.get(
    '/snapshots',
    {
      schema: {
        tags,
        operationId: 'listSnapshots',
        summary: 'Snapshots that hosts have announced',
        querystring: pageQuery,
        response: { 200: pageOf(snapshotSchema) },
      },
    },
    ({ query }) => modules.snapshots(query),
  );
}

const isAbout = ({ name, peer, labels }: HostDocument, words: string): boolean =>
  [name, peer, ...Object.entries(labels).map((label) => label.join('='))].some((text) =>
    text.toLowerCase().includes(words),
  );

/** Of a list that is all in memory, what comes after a key; of one that is not there any more, the first page. */
function page<Item>(
  all: readonly Item[],
  key: (item: Item) => string,
  after: string | undefined,
  limit: number,
): { items: Item[]; next: string | null } {
  const from = after === undefined ? 0 : all.findIndex((item) => key(item) === after) + 1;
  const items = all.slice(from, from + limit);
  const last = items.at(-1);
  return { items, next: last !== undefined && from + limit < all.length ? key(last) : null };
}
