import { isPeerId, type PeerId, ROLES } from '@drakkar/protocol';
import { z } from 'zod';
import {
  buildSpecSchema,
  digestSchema,
  evictSpecSchema,
  getSpecSchema,
  hostWorkSchema,
  jobSchema,
  jobSpecSchema,
  preheatSpecSchema,
} from '../jobs/index.ts';
import { API_ROLES } from './tokens.ts';

/** What the API takes and gives, beside what its parts have as schemas of their own. */

const count = z.int().min(0);
const text = (characters: number) => z.string().min(1).max(characters);

for (const [id, schema] of Object.entries({
  Job: jobSchema,
  JobSpec: jobSpecSchema,
  BuildSpec: buildSpecSchema,
  PreheatSpec: preheatSpecSchema,
  GetSpec: getSpecSchema,
  EvictSpec: evictSpecSchema,
  HostWork: hostWorkSchema,
}))
  z.globalRegistry.add(schema, { id });

export const peerSchema = z
  .string()
  .max(100)
  .refine(isPeerId, 'is no peer; `drakkar hosts` lists them')
  .transform((peer) => peer as PeerId);

/** A page of a list: what it begins after, and how much of it. */
export const pageQuery = z.object({
  after: z
    .string()
    .max(300)
    .regex(/^[!-~]*$/)
    .optional()
    .describe('`next` of the page before.'),
  limit: z.coerce.number().int().min(1).max(500).default(50),
});

export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    items: z.array(item),
    next: z.string().nullable().describe('`after` of the next page; `null` on the last one.'),
  });

export const statusSchema = z
  .object({
    version: z.string(),
    pid: z.int(),
    peer: z.string().describe('Who this supernode is.'),
    clusterKey: z.string().describe('What signs memberships and grants.'),
    address: z.string().describe('What daemons are configured with: `host:port/PEER`.'),
    apiUrl: z.string().describe('Where the API and the console are.'),
    apiPin: z.string().nullable().describe('sha256 of the key of its own certificate; `null` without TLS.'),
    metricsUrl: z.string(),
    uptimeMs: z.number(),
    hosts: count.describe('That are connected.'),
    blobs: count,
    snapshots: count,
    jobs: count.describe('That have not ended.'),
    supernodes: z
      .array(
        z.object({
          peer: z.string(),
          address: z.string(),
          version: z.string(),
          startedAtMs: z.number(),
          serving: z
            .boolean()
            .describe('Blobs are its own; one that has just begun waits for its hosts first.'),
          hosts: count.describe('That are connected to it.'),
          leads: z
            .boolean()
            .describe(
              'It has the jobs, the policies and this API; the others pass on to it what they are asked.',
            ),
        }),
      )
      .describe('Where there are several: all of them.'),
  })
  .meta({ id: 'Status' });

export const hostSchema = z
  .object({
    peer: z.string(),
    name: z.string(),
    state: z.enum(['connected', 'away', 'quarantined', 'revoked']),
    dataAddress: z.string().nullable(),
    labels: z.record(z.string(), z.string()),
    roles: z.array(z.string()),
    uploads: count.describe('Requests of other hosts that it is serving.'),
    uploadSlots: count,
    blobs: count.describe('That it wants or has.'),
    heardAtMs: z.number(),
    quarantinedUntilMs: z
      .number()
      .nullable()
      .describe('Two hosts had wrong bytes of it: nobody is sent to it until then.'),
  })
  .meta({ id: 'Host' });
export type HostDocument = z.output<typeof hostSchema>;

export const hostsQuery = pageQuery.extend({
  state: hostSchema.shape.state.optional(),
  role: z.enum(ROLES).optional(),
  q: z.string().max(255).optional().describe('A part of a name, a peer or a label.'),
});

export const forgottenSchema = z.object({ peer: z.string(), name: z.string() }).meta({ id: 'ForgottenHost' });
export const forgetRequest = z.strictObject({
  awayMs: count.describe('Hosts of which nothing was heard for so long.'),
});

export const blobSchema = z
  .object({
    digest: digestSchema,
    origin: z.string().describe('The registry or server that gave it.'),
    sizeBytes: count,
    pieces: count,
    seeds: count.describe('Hosts that have all of it.'),
    children: count.describe('Hosts that want it.'),
    readers: z.array(z.string()).describe('Hosts that may read it from where it is from at the moment.'),
  })
  .meta({ id: 'Blob' });
export type BlobDocument = z.output<typeof blobSchema>;

export const snapshotSchema = z
  .object({
    registry: z.string(),
    repository: z.string(),
    platform: z.string(),
    root: digestSchema,
    manifest: digestSchema,
    layout: digestSchema,
    builder: z.string(),
    announcer: z.string(),
    pushed: z.boolean(),
    sizeBytes: count.describe('As it travels.'),
    devices: count,
    usedAtMs: z.number(),
  })
  .meta({ id: 'Snapshot' });

const rate = z.number().min(0);
const trafficPointSchema = z
  .object({ atMs: z.number(), upstreamBytesPerSecond: rate, peerBytesPerSecond: rate })
  .meta({ id: 'TrafficPoint' });

export const overviewSchema = z
  .object({
    hosts: z.object({ connected: count, away: count, quarantined: count, revoked: count }),
    traffic: z
      .object({
        upstreamBytes: count.describe('From registries and web servers.'),
        peerBytes: count.describe('From other hosts.'),
        upstreamBytesPerSecond: rate,
        peerBytesPerSecond: rate,
      })
      .describe('Of all hosts, since this supernode began.'),
    history: z.array(trafficPointSchema).describe('The last ten minutes.'),
    starts: z
      .object({
        count,
        p50Ms: z.number().nullable(),
        p90Ms: z.number().nullable(),
        p99Ms: z.number().nullable(),
        buckets: z.array(z.object({ toMs: z.number().nullable(), count })),
        recent: z.array(
          z.object({
            atMs: z.number(),
            peer: z.string(),
            host: z.string(),
            image: z.string(),
            found: z.string(),
            totalMs: z.number(),
          }),
        ),
      })
      .describe('How long it took until root file systems were ready.'),
    jobs: z.object({ active: count }),
    snapshots: count,
    blobs: count,
  })
  .meta({ id: 'Overview' });
export type OverviewDocument = z.output<typeof overviewSchema>;

export const topologySchema = z
  .object({
    hosts: z.array(
      z.object({
        peer: z.string(),
        name: z.string(),
        labels: z.record(z.string(), z.string()),
        roles: z.array(z.string()),
        sentBytesPerSecond: rate,
        receivedBytesPerSecond: rate,
      }),
    ),
    feeds: z
      .array(z.object({ from: z.string(), to: z.string(), bytesPerSecond: rate }))
      .describe('Who gives whom, the largest first; at most 4,000.'),
  })
  .meta({ id: 'Topology' });
export type TopologyDocument = z.output<typeof topologySchema>;

export const blobDetailSchema = blobSchema
  .extend({
    parts: z
      .array(
        z.object({
          peer: z.string(),
          name: z.string(),
          havePieces: count,
          wants: z.boolean(),
          map: z
            .string()
            .regex(/^[0-9a-f]{16}$/)
            .nullable()
            .describe(
              'Which 64ths it has: 64 bits in hex, the lowest bit is the first. `null` where it has not said.',
            ),
        }),
      )
      .describe('Hosts that take part in it, at most 1,000.'),
  })
  .meta({ id: 'BlobDetail' });
export type BlobDetailDocument = z.output<typeof blobDetailSchema>;

export const snapshotDetailSchema = snapshotSchema
  .extend({
    layers: z.array(z.object({ digest: digestSchema, sizeBytes: count })),
    parts: z
      .array(
        z.object({
          kind: z.enum(['meta', 'device']),
          slot: count.describe('Of a device, from 0.'),
          digest: digestSchema,
          sizeBytes: count,
          pieces: count,
          sharedWith: z
            .array(z.object({ repository: z.string(), manifest: digestSchema }))
            .describe('Other snapshots that use it.'),
          hosts: z.array(
            z.object({ peer: z.string(), name: z.string(), residency: z.number().min(0).max(1) }),
          ),
        }),
      )
      .describe('What it consists of, and who has how much of it.'),
    prefetch: z
      .array(z.object({ device: count, offset: count, length: count }))
      .describe('What starts are known to read, in that order; bytes of devices.'),
  })
  .meta({ id: 'SnapshotDetail' });
export type SnapshotDetailDocument = z.output<typeof snapshotDetailSchema>;

export const joinTokenSchema = z
  .object({
    supernode: z.string().describe('`swarm.supernode` of a daemon.'),
    supernodes: z.array(z.string()).describe('All of them, where there are several: any of these, or all.'),
    joinToken: z.string().describe('`swarm.joinToken` of a daemon.'),
  })
  .meta({ id: 'JoinToken' });

export const jobRequest = z
  .strictObject({
    spec: jobSpecSchema,
    requestId: z
      .string()
      .regex(/^[\w.:-]{1,128}$/, 'may hold letters, digits and . : _ -')
      .optional()
      .describe('Whoever asks again with the same one within a day gets the same job.'),
  })
  .meta({ id: 'JobRequest' });

export const jobsQuery = pageQuery.extend({
  active: z.literal('true').optional().describe('Those that have not ended alone.'),
});
export const jobActions = ['cancel', 'pause', 'resume', 'retry'] as const;

export const tokenSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    role: z.enum(API_ROLES),
    createdAtMs: z.number(),
    createdBy: z.string(),
    expiresAtMs: z.number().nullable(),
  })
  .meta({ id: 'Token' });

export const whoAmISchema = z
  .object({
    name: z.string().describe('Of the token; `local` over the unix socket, `anybody` without a token.'),
    role: z.enum(API_ROLES),
    token: z.string().nullable().describe('Its id; `null` for who has none.'),
    expiresAtMs: z.number().nullable().describe('`null` where it does not end.'),
  })
  .meta({ id: 'WhoAmI' });
export type WhoAmIDocument = z.output<typeof whoAmISchema>;

export const tokenRequest = z
  .strictObject({
    name: text(100)
      .regex(/^[ -~]+$/, 'may hold printable ASCII alone')
      .describe('Whose it is; it stands in the audit log.'),
    role: z.enum(API_ROLES),
    ttlMs: z
      .int()
      .min(1_000)
      .max(10 * 365 * 24 * 60 * 60_000)
      .nullable()
      .default(90 * 24 * 60 * 60_000)
      .describe('How long it is good; `null` is for ever.'),
  })
  .meta({ id: 'TokenRequest' });

export const newTokenSchema = tokenSchema
  .extend({ text: z.string().describe('The token itself, which is not shown again.') })
  .meta({ id: 'NewToken' });
