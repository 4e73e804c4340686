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
import type { ApiModules, BlobEntry, HostEntry } from '../modules.ts';
import type { ApiRoutes } from '../server.ts';
import { replySmall } from '../text.ts';
import { notFound } from './jobs.ts';

/** Names and origins may have 255 characters, of up to three bytes, of which base64 makes four. */
const cursor = z
  .string()
  .max(1_500)
  .regex(/^[!-~]*$/)
  .optional()
  .describe('`next` of the page before.');
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
    (request, reply) => replySmall(request, reply, modules.topology()),
  );
  server.get(
    '/hosts',
    {
      schema: {
        tags,
        operationId: 'listHosts',
        summary: 'Members of the cluster, by their names',
        querystring: hostsQuery.extend({ after: cursor }),
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
      const { items, next } = page(hosts, hostOrder, after, limit);
      return { items: items.map((host) => host.document()), next };
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
    ({ params }) => members.find(params.peer) ?? notFound('such host'),
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
        querystring: pageQuery.extend({ after: cursor }),
        response: { 200: pageOf(blobSchema) },
      },
    },
    ({ query: { after, limit } }) => {
      const all = Iterator.from(modules.blobs());
      const left = after === undefined ? all : all.filter(({ key }) => key > after);
      const { items, next } = page([...left].sort(blobOrder.compare), blobOrder, after, limit);
      return { items: items.map((blob) => blob.document()), next };
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

const isAbout = ({ name, peer, labels }: HostEntry, words: string): boolean =>
  [name, peer, ...Object.entries(labels).map((label) => label.join('='))].some((text) =>
    text.toLowerCase().includes(words),
  );

/** What a list is ordered by, and how a place in it is written: that of an item that is gone is a place still. */
interface Order<Key> {
  compare(one: Key, other: Key): number;
  format(key: Key): string;
  /** @throws `invalid_argument` */
  parse(text: string): Key;
}

const compareText = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

/** Exported for its tests. */
export const hostOrder: Order<Pick<HostDocument, 'name' | 'peer'>> = {
  compare: (one, other) => compareText(one.name, other.name) || compareText(one.peer, other.peer),
  format: ({ name, peer }) => Buffer.from(`${name}\0${peer}`).toString('base64url'),
  parse(text) {
    const place = Buffer.from(text, 'base64url').toString();
    const end = place.lastIndexOf('\0');
    if (end < 0) {
      throw new DrakkarError('invalid_argument', 'after: it is not `next` of a page of hosts');
    }
    return { name: place.slice(0, end), peer: place.slice(end + 1) };
  },
};

const blobOrder: Order<Pick<BlobEntry, 'key'>> = {
  compare: (one, other) => compareText(one.key, other.key),
  format: ({ key }) => key,
  parse: (key) => ({ key }),
};

/** Of a list in its order that is all in memory, what comes after a place. Exported for its tests. */
export function page<Key, Item extends Key>(
  all: readonly Item[],
  order: Order<Key>,
  after: string | undefined,
  limit: number,
): { items: Item[]; next: string | null } {
  const place = after === undefined ? undefined : order.parse(after);
  const found = place === undefined ? 0 : all.findIndex((item) => order.compare(item, place) > 0);
  const from = found < 0 ? all.length : found;
  const items = all.slice(from, from + limit);
  const last = items.at(-1);
  return { items, next: last !== undefined && from + limit < all.length ? order.format(last) : null };
}
