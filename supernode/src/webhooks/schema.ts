import { isRegistry } from '@drakkar/protocol';
import { z } from 'zod';
import { HOOK_KINDS } from './kinds.ts';

export const hookRequest = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'may hold small letters, digits and -'),
    kind: z.enum(HOOK_KINDS).describe('Who sends.'),
    registry: z
      .string()
      .max(255)
      .refine(isRegistry, 'is no registry; write it as references name it, as registry.example:5000')
      .optional()
      .describe('How hosts name the registry, where the sender says another name or none.'),
    secret: z
      .string()
      .min(16)
      .max(256)
      .regex(/^[!-~]+$/, 'may hold printable ASCII without blanks alone')
      .optional()
      .describe('What the sender shows that it knows; made where it is not given.'),
  })
  .meta({ id: 'WebhookRequest' });
export type HookRequest = z.output<typeof hookRequest>;

/** What is remembered of a hook, with its secret. */
export const hookSchema = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(HOOK_KINDS),
  registry: z.string().nullable(),
  secret: z.string(),
  createdAtMs: z.number(),
  createdBy: z.string(),
});
export type Hook = z.output<typeof hookSchema>;

/** What is remembered of a delivery. */
export const deliveryRecordSchema = z
  .object({
    id: z.string(),
    atMs: z.number(),
    outcome: z.enum(['taken', 'repeated', 'refused', 'malformed', 'nothing']),
    detail: z.string(),
  })
  .meta({ id: 'Delivery' });

/** Deliveries whose sender was told to come again. */
const postponedSchema = z.object({
  count: z.int().min(0),
  lastAtMs: z.number().nullable(),
  detail: z.string().nullable(),
});
export type Postponed = z.output<typeof postponedSchema>;

export type DeliveryRecord = z.output<typeof deliveryRecordSchema>;

export const hookDocument = hookSchema
  .omit({ secret: true })
  .extend({
    path: z.string().describe('Where the sender is to send it, below the address of the API.'),
    proof: z.string().describe('How the sender shows that it knows the secret.'),
    deliveries: z
      .array(deliveryRecordSchema)
      .describe('The last ones, the newest first; the list of its deliveries has more.'),
    lastTaken: deliveryRecordSchema
      .nullable()
      .describe('The last one that something was done for; a registry may have told of other things since.'),
    postponed: postponedSchema.describe(
      'Deliveries that were too many at once: the sender is to come again.',
    ),
  })
  .meta({ id: 'Webhook' });

export const newHookDocument = hookDocument
  .extend({ secret: z.string().describe('Not shown again.') })
  .meta({ id: 'NewWebhook' });

export const deliveryAnswer = z
  .looseObject({ outcome: z.string(), images: z.int().min(0), policies: z.int().min(0) })
  .meta({ id: 'DeliveryAnswer' });

export const trialRequest = z
  .strictObject({
    delivery: z
      .unknown()
      .optional()
      .describe('What the sender would send, in JSON; an example of what it would where it is not given.'),
  })
  .meta({ id: 'WebhookTrialRequest' });

export const trialAnswer = z
  .object({
    example: z.unknown().optional().describe('What was tried, where no delivery was given.'),
    images: z
      .array(
        z.object({
          image: z.string(),
          policies: z
            .array(
              z.object({
                id: z.string(),
                name: z.string(),
                does: z
                  .array(z.enum(['build', 'distribute']))
                  .describe('Nothing where the policy is not for what is pushed.'),
              }),
            )
            .describe('That are on and for it.'),
        }),
      )
      .describe('What was pushed.'),
  })
  .meta({ id: 'WebhookTrial' });
export type TrialAnswer = z.output<typeof trialAnswer>;
