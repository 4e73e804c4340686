import { parsePlatform } from '@drakkar/protocol';
import { accepts } from '@drakkar/service';
import { z } from 'zod';
import { asMap, asSet, rules } from './rules.ts';

const DNS_LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?';
const MAX_NAME = 253;
const MAX_LABELS = 64;

const HOST =
  '([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\\[[0-9a-fA-F:]+\\])';
const COMPONENT = '[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*';
/** The grammar of references but for bounds, which are looked at where one is read: a condition tells of that. */
const IMAGE = `^(${HOST}(:[0-9]{1,5})?/)?${COMPONENT}(/${COMPONENT})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`;

export const imageSchema = z
  .string()
  .min(1)
  .max(512)
  .describe('An image by its reference: `[REGISTRY/]REPOSITORY[:TAG][@sha256:…]`.')
  .meta(
    rules({
      rule: `self.matches(r'${IMAGE}')`,
      message: 'is no image reference; write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:…]',
    }),
  );

export const platformSchema = z
  .string()
  .max(64)
  .refine(accepts(parsePlatform), 'is no platform')
  .describe('`OS/ARCH[/VARIANT]`.')
  .meta(
    rules({
      rule: "self.matches('^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$')",
      message: 'is no platform; write it as linux/amd64',
    }),
  );

export const platformsSchema = z
  .array(platformSchema)
  .min(1)
  .max(10)
  .optional()
  .describe(
    'Those of the nodes where nothing is said: what there is for one stays until an edit, though its nodes leave.',
  )
  .meta(asSet);

export const digestSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/);

/** @param least and `most` as Go writes durations */
export const durationSchema = (least: string, most: string) =>
  z
    .string()
    .max(32)
    .regex(/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/)
    .refine((text) => {
      const ms = durationMs(text);
      return ms >= durationMs(least) && ms <= durationMs(most);
    }, `is not between ${least} and ${most}`)
    .meta(
      rules({
        rule: `duration(self) >= duration('${least}') && duration(self) <= duration('${most}')`,
        message: `is not between ${least} and ${most}; write it as 90s, 10m or 24h`,
      }),
    );

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Of a duration as Go writes it, without signs. */
export function durationMs(text: string): number {
  const parts = text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g);
  return parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNIT_MS[unit] ?? 0), 0);
}

const nameSchema = z
  .string()
  .min(1)
  .max(MAX_NAME)
  .regex(new RegExp(`^${DNS_LABEL}(\\.${DNS_LABEL})*$`));

export const namespaceSchema = z
  .string()
  .min(1)
  .max(63)
  .regex(new RegExp(`^${DNS_LABEL}$`));

export const pullSecretsSchema = z
  .array(
    z.object({
      namespace: namespaceSchema,
      name: nameSchema,
    }),
  )
  .max(20)
  .optional()
  .describe(
    'Secrets of the type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg` with which registries are asked. No others are read.',
  )
  .meta(asMap('namespace', 'name'));

export const labelsSchema = z
  .record(z.string().min(1).max(317), z.string().max(63))
  .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `are more than ${MAX_LABELS} labels`)
  .meta({ maxProperties: MAX_LABELS });

const PERCENTAGE = '^([1-9][0-9]?|100)%$';

export const distributionSchema = z
  .object({
    scope: z
      .enum(['None', 'Seeds', 'Nodes'])
      .default('Nodes')
      .describe('Who gets it before anybody asks: nobody, the hosts with the role `seed`, or nodes.'),
    nodeSelector: labelsSchema.optional().describe('Labels that a node must have, all of them.'),
    parallelism: z
      .union([z.int().min(1).max(100_000), z.string().max(4).regex(new RegExp(PERCENTAGE))])
      .default('10%')
      .describe('Nodes at the same time: a number, or a percentage of all.')
      .meta({
        'x-kubernetes-int-or-string': true,
        ...rules({
          rule: `type(self) == int ? self >= 1 && self <= 100000 : self.matches('${PERCENTAGE}')`,
          message: 'is neither a number of nodes nor a percentage; write it as 20 or as 10%',
        }),
      }),
    percentage: z
      .int()
      .min(1)
      .max(100)
      .optional()
      .describe('So much of the nodes, or of the seeds, chosen by lot; all where nothing is said.'),
  })
  .prefault({})
  .describe('Which nodes have it before a pod asks.')
  .meta(
    rules({
      rule: "!has(self.nodeSelector) || self.scope == 'Nodes'",
      message: 'a nodeSelector is for the scope Nodes',
      reason: 'FieldValueForbidden',
    }),
  );
export type Distribution = z.output<typeof distributionSchema>;

/** Source: Kubernetes, API conventions, “Typical status properties”. */
export const conditionSchema = z.object({
  type: z.string().max(316),
  status: z.enum(['True', 'False', 'Unknown']),
  observedGeneration: z.int().min(0).optional(),
  lastTransitionTime: z.iso.datetime(),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/),
  message: z.string().max(32_768),
});
export type Condition = z.output<typeof conditionSchema>;

export const conditionsSchema = z.array(conditionSchema).max(16).optional().meta(asMap('type'));
