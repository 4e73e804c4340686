import { ERROR_CODES, parsePlatform, parseReference, ROLES } from '@drakkar/protocol';
import { accepts } from '@drakkar/service';
import { z } from 'zod';

/** What can be asked of the cluster, and what is remembered of it: the schemas are the API's, too. */

const DAY_MS = 24 * 60 * 60_000;

export const imageSchema = z
  .string()
  .min(1)
  .max(1024)
  .refine(
    accepts(parseReference),
    'is no image reference; write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:…]',
  )
  .describe('An image by its reference.');
export const platformSchema = z
  .string()
  .max(255)
  .refine(accepts(parsePlatform), 'is no platform; write it as OS/ARCH[/VARIANT]')
  .describe('`OS/ARCH[/VARIANT]`; each host’s own where absent.');
export const digestSchema = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'is no digest; write it as sha256: and 64 lower-case hex digits');

const percentage = z.string().regex(/^(?:[1-9][0-9]?|100)%$/, 'is no percentage; write it as 25%');

export const targetSchema = z
  .strictObject({
    role: z.enum(ROLES).optional().describe('Hosts with this role alone.'),
    labels: z
      .record(z.string().min(1).max(324), z.string().max(255))
      .optional()
      .describe('Hosts with all of these labels alone.'),
    percentage: z.int().min(1).max(100).optional().describe('So much of them, chosen by lot.'),
    hosts: z.int().min(1).max(100_000).optional().describe('Until so many of them have it.'),
    names: z
      .array(z.string().min(1).max(255))
      .min(1)
      .max(10_000)
      .optional()
      .describe('Hosts that are called so alone.'),
  })
  .refine(({ percentage, hosts }) => percentage === undefined || hosts === undefined, {
    error: 'a percentage and a number of hosts exclude each other',
    path: ['hosts'],
  })
  .prefault({})
  .describe('Which hosts; all where nothing is said.');

const common = {
  attempts: z.int().min(1).max(100).default(5).describe('On one host, before it is given up there.'),
  stallMs: z
    .int()
    .min(5_000)
    .max(DAY_MS)
    .default(2 * 60_000)
    .describe('A host that makes no progress for so long has failed, however long it has been at it before.'),
  ttlMs: z
    .int()
    .min(0)
    .max(365 * DAY_MS)
    .default(7 * DAY_MS)
    .describe('How long it is remembered once it has ended.'),
};

const rollout = {
  target: targetSchema,
  parallelism: z
    .union([z.int().min(1).max(100_000), percentage], {
      error: 'is neither a number of hosts nor a percentage as 25%',
    })
    .default(100)
    .describe('Hosts at the same time: a number, or a percentage of all that it is for.'),
  stopAfterFailures: z
    .int()
    .min(1)
    .max(100_000)
    .nullable()
    .default(null)
    .describe('So many hosts that failed end it on the others, too; `null` goes on.'),
  keep: z
    .boolean()
    .default(false)
    .describe('It does not end: hosts that come later, or lose it, are brought in line, too.'),
  checkMs: z
    .int()
    .min(1_000)
    .max(30 * DAY_MS)
    .optional()
    .describe(
      'With `keep`: how often each host is asked whether it still has it, beside when it has been away; half an hour where nothing is said.',
    ),
};

export const buildSpecSchema = z.strictObject({
  kind: z.literal('build'),
  image: imageSchema,
  platform: platformSchema.optional(),
  push: z.boolean().default(false).describe('To the image’s registry, too.'),
  rebuild: z.boolean().default(false).describe('Also where there is one.'),
  near: z
    .string()
    .max(100)
    .optional()
    .describe('The host that builds it where no host has the role, or where no other may have the image.'),
  ...common,
});

export const preheatSpecSchema = z.strictObject({
  kind: z.literal('preheat'),
  image: imageSchema,
  platform: platformSchema.optional(),
  content: z
    .enum(['snapshot', 'start', 'layers'])
    .default('snapshot')
    .describe(
      'What hosts get: the whole snapshot, what its mount and a start of it need, or the layers as the registry has them. A snapshot is built first where there is none.',
    ),
  ...rollout,
  ...common,
});

export const getSpecSchema = z.strictObject({
  kind: z.literal('get'),
  url: z
    .url({ protocol: /^https?$/, error: 'is no URL of http or https' })
    .max(4096)
    .refine((url) => !/^[a-z]+:\/\/[^/?#]*@/.test(url), 'may not hold a password')
    .describe('A file of a web server that hosts may ask (`files` of their configuration).'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'is not 64 lower-case hex digits')
    .optional()
    .describe('What it must be.'),
  ...rollout,
  ...common,
});

export const evictSpecSchema = z
  .strictObject({
    kind: z.literal('evict'),
    image: imageSchema.optional(),
    platform: platformSchema.optional(),
    digest: digestSchema.optional().describe('One blob.'),
    ...rollout,
    keep: z.literal(false).default(false),
    ...common,
  })
  .refine(({ image, digest }) => (image === undefined) !== (digest === undefined), {
    error: 'name an image, or the digest of one blob',
    path: ['image'],
  });

export const measureSpecSchema = z
  .strictObject({
    kind: z.literal('measure'),
    image: imageSchema,
    platform: platformSchema.optional(),
    what: z
      .enum(['pull', 'start'])
      .describe(
        '`pull`: its layers come into the store. `start`: its snapshot, which must be there, is mounted, and what starts are known to read is waited for.',
      ),
    warm: z.boolean().default(false).describe('Also on hosts that have it already.'),
    bytesPerSecond: z
      .int()
      .min(1024)
      .max(2 ** 40)
      .nullable()
      .default(null)
      .describe('Of each host’s pull; `null` is no limit but its own.'),
    mostBytes: z
      .int()
      .min(1)
      .max(2 ** 50)
      .nullable()
      .default(null)
      .describe(
        'That may come to each host; `null` is as much as it allows. One that allows less refuses it.',
      ),
    withinMs: z
      .int()
      .min(1_000)
      .max(DAY_MS)
      .nullable()
      .default(null)
      .describe(
        'How long it may take on each host; `null` is as long as it allows. One that allows less refuses it.',
      ),
    staggerMs: z.int().min(0).max(DAY_MS).default(0).describe('Between the beginnings of two hosts.'),
    ...rollout,
    keep: z.literal(false).default(false),
    ...common,
    attempts: z.literal(1).default(1).describe('What went wrong is part of what is measured.'),
  })
  .refine(({ what, bytesPerSecond }) => what === 'pull' || bytesPerSecond === null, {
    error: 'is for pulls alone: what a start brings others may wait for, too',
    path: ['bytesPerSecond'],
  });

export const jobSpecSchema = z.discriminatedUnion('kind', [
  buildSpecSchema,
  preheatSpecSchema,
  getSpecSchema,
  evictSpecSchema,
  measureSpecSchema,
]);
export type JobSpec = z.output<typeof jobSpecSchema>;
/** What a person may write. */
export type RawJobSpec = z.input<typeof jobSpecSchema>;
export type JobTarget = z.output<typeof targetSchema>;

const errorSchema = z.object({
  code: z.enum(ERROR_CODES as [string, ...string[]]),
  message: z.string(),
  hint: z.string().optional(),
});
export type JobError = z.output<typeof errorSchema>;

const count = z.int().min(0);
/** As large as a sum of what hosts say may be. */
const sum = z.number().min(0);

/** What a measured pull or start took on one host. */
export const measuredSchema = z.object({
  elapsedMs: z.number().min(0),
  firstByteMs: z.number().min(0).nullable().describe('`null` where no byte had to come.'),
  mountedMs: z
    .number()
    .min(0)
    .nullable()
    .describe('Until the root file system could be used; `null` of a pull.'),
  hereBytes: count.describe('Of what was wanted, before it began.'),
  storeBytes: count.describe('That were read from the store.'),
  joinedBytes: count.describe('That came for somebody else of the same host, who knows from where.'),
  discardedBytes: count.describe('That came and were of no use.'),
});
export type MeasuredWork = z.output<typeof measuredSchema>;

/** How far one host is with its part. */
export const hostWorkSchema = z.object({
  peer: z.string(),
  name: z.string(),
  state: z.enum(['waiting', 'running', 'succeeded', 'failed', 'cancelled']),
  attempts: count.describe('That were begun since it was last asked for.'),
  task: count.describe('The number of the last one, which never comes again.'),
  nextAttemptAtMs: z.number().nullable(),
  phase: z.string().nullable().describe('What it is at: download, build, expand, verify or push.'),
  doneBytes: count,
  totalBytes: count.describe('0 while it is unknown.'),
  sizeBytes: count.describe('Of what it has now.'),
  upstreamBytes: count.describe('That came from registries and web servers.'),
  peerBytes: count.describe('That came from other hosts.'),
  measured: measuredSchema.nullable().default(null).describe('Of what was measured alone.'),
  error: errorSchema.nullable().describe('Why the last attempt failed.'),
  startedAtMs: z.number().nullable(),
  endedAtMs: z.number().nullable(),
});
export type HostWork = z.output<typeof hostWorkSchema>;

/** What an image's name meant when it was asked for. */
export const resolvedSchema = z.object({
  root: digestSchema.describe('What the name means: an index, or the manifest.'),
  manifest: digestSchema,
  platform: z.string(),
  layers: z.array(z.object({ digest: digestSchema, sizeBytes: count })),
});
export type ResolvedImage = z.output<typeof resolvedSchema>;

export const JOB_STATES = [
  'waiting',
  'running',
  'paused',
  'keeping',
  'succeeded',
  'failed',
  'cancelled',
] as const;
export type JobState = (typeof JOB_STATES)[number];

/** The place of a job in the trace of who has asked for it, the last time. */
const jobTraceSchema = z.object({
  traceId: z.string().describe('What lines of logs about it have, on all hosts.'),
  spanId: z.string(),
  parentSpanId: z.string().nullable(),
  isSampled: z.boolean(),
  sinceMs: z.number(),
});

export const jobSchema = z.object({
  id: z.string(),
  spec: jobSpecSchema,
  state: z
    .enum(JOB_STATES)
    .describe(
      '`keeping`: all that was asked for is there, and hosts that come, or lose it, are brought in line.',
    ),
  reason: z.string().nullable().describe('Why it is so, for people.'),
  error: errorSchema.nullable(),
  createdAtMs: z.number(),
  createdBy: z.string(),
  startedAtMs: z.number().nullable(),
  endedAtMs: z.number().nullable(),
  trace: jobTraceSchema.nullable().default(null),
  /** The last work of one host that the others wait for. */
  resolve: hostWorkSchema.nullable(),
  build: hostWorkSchema.nullable(),
  resolved: resolvedSchema.nullable(),
  snapshot: z
    .object({ layout: digestSchema, sizeBytes: count, found: z.string() })
    .nullable()
    .describe('The image’s snapshot, and how it was come by.'),
  /** Whether it is known which hosts it is for. */
  isSelected: z.boolean(),
  hosts: z.object({
    total: count,
    waiting: count,
    running: count,
    succeeded: count,
    failed: count,
    cancelled: count,
  }),
  bytes: z.object({ size: sum, upstream: sum, peer: sum }).describe('Of all hosts together.'),
});
export type Job = z.output<typeof jobSchema>;

export const isEnded = ({ state }: Pick<Job, 'state'>): boolean =>
  state === 'succeeded' || state === 'failed' || state === 'cancelled';

export function newJob(id: string, spec: JobSpec, createdBy: string, nowMs: number): Job {
  return {
    id,
    spec,
    state: 'waiting',
    reason: null,
    error: null,
    createdAtMs: nowMs,
    createdBy,
    startedAtMs: null,
    endedAtMs: null,
    trace: null,
    resolve: null,
    build: null,
    resolved: null,
    snapshot: null,
    isSelected: false,
    hosts: { total: 0, waiting: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 },
    bytes: { size: 0, upstream: 0, peer: 0 },
  };
}

export function newWork({ peer, name }: { readonly peer: string; readonly name: string }): HostWork {
  return {
    peer,
    name,
    state: 'waiting',
    attempts: 0,
    task: 0,
    nextAttemptAtMs: null,
    phase: null,
    doneBytes: 0,
    totalBytes: 0,
    sizeBytes: 0,
    upstreamBytes: 0,
    peerBytes: 0,
    measured: null,
    error: null,
    startedAtMs: null,
    endedAtMs: null,
  };
}
