import { z } from 'zod';
import {
  conditionsSchema,
  distributionSchema,
  durationSchema,
  labelsSchema,
  namespaceSchema,
  pullSecretsSchema,
} from './fields.ts';
import { asSet, keepsUnknown, rules } from './rules.ts';

const count = z.int().min(0);

const globSchema = z
  .string()
  .min(1)
  .max(512)
  .describe('`*` stands for a part of a name, `**` for several, `{a,b}` for either.')
  .meta(
    rules(
      {
        rule: "self.matches('^[A-Za-z0-9*{][-A-Za-z0-9._:/*{},]*$')",
        message: 'is no pattern of images; write it as registry.example/team/*, or ** for all',
      },
      {
        rule: "self.matches('^([^{}]|[{]([^{}]|[{][^{}]*[}])*[}])*$')",
        message:
          'has a brace without its other, or braces more than two deep; write it as registry.example/{a,b}',
      },
    ),
  );

const fromPodsSchema = z
  .object({
    namespaces: z.array(namespaceSchema).min(1).max(100).optional().describe('Those alone.').meta(asSet),
    namespaceSelector: labelsSchema.optional().describe('Labels that a namespace must have, all of them.'),
    serviceAccountPullSecrets: z
      .boolean()
      .default(false)
      .describe('The pull secrets of a pod and of its service account are used for its images.'),
  })
  .optional()
  .describe(
    'Images of pods that wait to be started, whatever has made them, and of Deployments, in these namespaces; of all where none is named.',
  )
  .meta(
    rules({
      rule: '!(has(self.namespaces) && has(self.namespaceSelector))',
      message: 'name namespaces, or a selector of them',
    }),
  );

export const snapshotPolicySpecSchema = z.object({
  images: z.array(globSchema).min(1).max(64).describe('Which images it is for.').meta(asSet),
  // Not `on`, which many readers of YAML take for a truth value.
  triggers: z
    .object({
      push: z.boolean().default(true).describe('A registry says that one was pushed.'),
      firstPull: z.boolean().default(true).describe('A node has pulled one that has no snapshot.'),
    })
    .prefault({}),
  fromPods: fromPodsSchema,
  pullSecrets: pullSecretsSchema,
  minSizeBytes: count.default(0).describe('Of the layers of an image that was pulled.'),
  atOnce: z.int().min(1).max(1_000).default(2).describe('Builds at the same time, at most.'),
  refresh: z
    .object({ interval: durationSchema('1m', '720h').describe('So often.') })
    .optional()
    .describe('When tags are looked at again; never where nothing is said.'),
  retention: z
    .object({
      unused: durationSchema('1h', '87600h').describe(
        'Snapshots that nobody has started for so long are forgotten.',
      ),
    })
    .optional(),
  distribution: distributionSchema,
  suspend: z.boolean().default(false).describe('It has nothing done while it is so.'),
});
export type SnapshotPolicySpec = z.output<typeof snapshotPolicySpecSchema>;

export const snapshotPolicyStatusSchema = z
  .object({
    observedGeneration: count.optional(),
    conditions: conditionsSchema,
    images: count.optional().describe('Images that were seen, and that it is for; 500 at most.'),
    pending: count.optional().describe('That wait, or are being built.'),
  })
  .meta(keepsUnknown);
export type SnapshotPolicyStatus = z.output<typeof snapshotPolicyStatusSchema>;
