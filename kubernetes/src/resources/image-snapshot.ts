import { parsePlatform, parseReference } from '@drakkar/protocol';
import { accepts } from '@drakkar/service';
import { z } from 'zod';
import { CRON } from './cron.ts';
import {
  conditionsSchema,
  digestSchema,
  distributionSchema,
  durationSchema,
  imageSchema,
  platformsSchema,
  pullSecretsSchema,
} from './fields.ts';
import { asMap, asSet, keepsUnknown, rules } from './rules.ts';

const count = z.int().min(0);

const refreshSchema = z
  .object({
    interval: durationSchema('1m', '720h').optional().describe('So often.'),
    cron: z
      .string()
      .max(100)
      .optional()
      .describe('At these times, in UTC: minute, hour, day of the month, month, day of the week.')
      .meta(
        rules({
          rule: `self.matches(r'${CRON}')`,
          message:
            'is no schedule of minute, hour, day of the month, month and day of the week; write it as 0 3 * * *',
        }),
      ),
  })
  .optional()
  .describe(
    'When tags are looked at again, which may mean something else by then; never where nothing is said.',
  )
  .meta(
    rules({ rule: 'has(self.interval) != has(self.cron)', message: 'name an interval, or a cron schedule' }),
  );

const retentionSchema = z
  .object({
    previous: durationSchema('0s', '8760h')
      .default('1h')
      .describe('How long nodes keep what tags have meant before: the last 200 of all, at most.'),
  })
  .prefault({});

/** With the longest of references the status of so many takes two thirds of what etcd takes, 1.5 MiB. */
const MAX_ITEMS = 300;

export const imageSnapshotSpecSchema = z
  .object({
    images: z
      .array(imageSchema)
      .min(1)
      .max(100)
      .describe(`What is to be there; times platforms, at most ${MAX_ITEMS}.`)
      .meta(asSet),
    platforms: platformsSchema,
    pullSecrets: pullSecretsSchema,
    refresh: refreshSchema,
    retention: retentionSchema,
    distribution: distributionSchema,
    suspend: z.boolean().default(false).describe('Nothing is begun while it is so; what is there stays.'),
  })
  .meta(
    rules({
      rule: `!has(self.platforms) || size(self.images) * size(self.platforms) <= ${MAX_ITEMS}`,
      message: `images times platforms are more than ${MAX_ITEMS}; write them as several`,
    }),
  );
export type ImageSnapshotSpec = z.output<typeof imageSnapshotSpecSchema>;

const reference = z.string().refine(accepts(parseReference));
const platform = z.string().refine(accepts(parsePlatform));

/** How far one image is, for one platform. */
export const imageStatusSchema = z.object({
  image: reference,
  platform,
  phase: z.enum(['Pending', 'Resolving', 'Building', 'Distributing', 'Ready', 'Failed']),
  digest: digestSchema.optional().describe('What its reference means.'),
  manifest: digestSchema.optional().describe('The manifest for the platform.'),
  snapshot: digestSchema.optional().describe('The digest of the snapshot’s layout.'),
  sizeBytes: count.optional().describe('Of the snapshot.'),
  upstreamBytes: count.optional().describe('That nodes have read from the registry for it.'),
  peerBytes: count.optional().describe('That nodes have had from each other.'),
  resolvedTime: z.iso.datetime().optional(),
  round: z.iso.datetime().optional().describe('When it was last due to be looked at.'),
  failures: count.optional().describe('In a row.'),
  nextAttemptTime: z.iso.datetime().optional().describe('When it is tried again.'),
  keep: z
    .object({ failures: count, nextAttemptTime: z.iso.datetime() })
    .optional()
    .describe('That nodes could not be asked to have it: how often, and when they are asked again.'),
  reason: z.string().optional(),
  message: z.string().optional(),
});
export type ImageStatus = z.output<typeof imageStatusSchema>;

export const previousSchema = z.object({
  image: reference.refine((text) => text.includes('@')).describe('By its digest.'),
  platform,
  since: z.iso.datetime().describe('Since when it is wanted no longer.'),
  reason: z
    .enum(['Superseded', 'Removed'])
    .describe('`Superseded` by what its tag means now: it is kept for a while.'),
});
export type PreviousImage = z.output<typeof previousSchema>;

const failedNodeSchema = z.object({
  name: z.string(),
  image: z.string(),
  reason: z.string(),
  message: z.string(),
});

export const imageSnapshotStatusSchema = z
  .object({
    observedGeneration: count.optional(),
    conditions: conditionsSchema,
    ready: z.string().optional().describe('Images that are ready, of all, for people: `3/4`.'),
    images: z.array(imageStatusSchema).max(1_000).optional().meta(asMap('image', 'platform')),
    previous: z
      .array(previousSchema)
      .max(1_000)
      .optional()
      .describe('What was wanted before, and has not gone from nodes yet.')
      .meta(asMap('image', 'platform')),
    nodes: z
      .object({
        desired: count.describe('That are to have it.'),
        ready: count.describe('That have all of it.'),
        failed: z.array(failedNodeSchema).max(20).optional().describe('Some of those that could not get it.'),
      })
      .optional(),
    sizeBytes: count.optional().describe('Of all snapshots.'),
    lastRefreshTime: z.iso.datetime().optional(),
  })
  .meta(keepsUnknown);
export type ImageSnapshotStatus = z.output<typeof imageSnapshotStatusSchema>;
