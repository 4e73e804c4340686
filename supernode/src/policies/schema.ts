import { accepts } from '@drakkar/service';
import { z } from 'zod';
import { preheatSpecSchema } from '../jobs/index.ts';
import { GLOB_LIMITS, namesTag, parseGlob, placesOf } from './glob.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

export const globSchema = z
  .string()
  .min(1)
  .max(512)
  .refine(accepts(parseGlob), {
    error: 'is no pattern of images; write it as registry.example/team/*, or ** for all',
    abort: true,
  })
  .describe(
    '`*` stands for a part of a name, `**` for several, `{a,b}` for either; without a tag it is for every tag.',
  );

const globsSchema = z.array(globSchema).min(1).max(64);

/** What is asked for; what was kept before there was a limit is kept. */
const newGlobsSchema = globsSchema.refine(
  (images) => images.reduce((sum, text) => sum + placesOf(parseGlob(text)), 0) <= GLOB_LIMITS.places,
  {
    error: `are more than ${GLOB_LIMITS.places} characters together, braces written out; make several policies of it`,
    abort: true,
  },
);

const policyFields = z.strictObject({
  name: z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'may hold small letters, digits and -'),
  images: newGlobsSchema,
  enabled: z.boolean().default(true),
  on: z
    .strictObject({
      push: z.boolean().default(true).describe('A registry says that one was pushed.'),
      firstPull: z.boolean().default(true).describe('A host has pulled one that has no snapshot.'),
    })
    .prefault({}),
  minSizeBytes: z
    .int()
    .min(0)
    .default(0)
    .describe('Of the layers of an image that was pulled: smaller ones are unpacked as fast.'),
  atOnce: z
    .int()
    .min(1)
    .max(1_000)
    .default(2)
    .describe('Builds by this policy at the same time, at most; others wait.'),
  push: z.boolean().default(false).describe('Snapshots go to the image’s registry, too.'),
  distribute: preheatSpecSchema
    .pick({ content: true, target: true, parallelism: true })
    .nullable()
    .default(null)
    .describe('Which hosts get it as soon as it is built; `null` is none: they fetch what they start.'),
  refreshMs: z
    .int()
    .min(MINUTE_MS)
    .max(30 * DAY_MS)
    .nullable()
    .default(null)
    .describe(
      'Tags that are known are looked at again this often, and built where they mean something else.',
    ),
  keepMs: z
    .int()
    .min(60 * MINUTE_MS)
    .max(3650 * DAY_MS)
    .nullable()
    .default(null)
    .describe(
      'Snapshots that nobody has started for so long are forgotten: nobody is given them any more. Hosts that have one keep it until they need the room.',
    ),
});

/** Which images get what, when. */
export const policyRequest = policyFields
  .refine(({ images, keepMs }) => keepMs === null || !images.some((text) => namesTag(parseGlob(text))), {
    error: 'snapshots are kept by repository: with `keepMs` no pattern may name a tag',
    path: ['keepMs'],
  })
  .meta({ id: 'PolicyRequest' });
export type PolicyRequest = z.output<typeof policyRequest>;

export const dryRunRequest = policyFields.pick({ images: true });

export const policySchema = policyFields
  .extend({
    images: globsSchema,
    id: z.string(),
    createdAtMs: z.number(),
    createdBy: z.string(),
    changedAtMs: z.number(),
  })
  .meta({ id: 'Policy' });
export type Policy = z.output<typeof policySchema>;

/** What a policy is to have done for an image, kept until it was begun. */
export const wantedSchema = z.object({
  policy: z.string(),
  image: z.string(),
  platform: z.string().nullable(),
  /** The host that has pulled it, where it was one. */
  near: z.string().nullable(),
  /** `distribute` where it has been built. */
  stage: z.enum(['build', 'distribute']),
  /** The build whose end is waited for. */
  build: z.string().nullable(),
  /** It may mean something else than what is being built. */
  isAgain: z.boolean(),
  /** Of the trace of who wanted it last; empty where there was none. */
  traceparent: z.string().default(''),
  createdAtMs: z.number(),
});
export type Wanted = z.output<typeof wantedSchema>;

/** An image that somebody has pushed or pulled. */
export const seenSchema = z.object({
  image: z.string(),
  platform: z.string().nullable(),
  seenAtMs: z.number(),
  lookedAtMs: z.number(),
  /** When policies have had it built since it was to be started somewhere, by their ids. */
  startsAtMs: z.record(z.string(), z.number()).default({}),
});
export type SeenImage = z.output<typeof seenSchema>;
